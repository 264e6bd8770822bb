"""Trimmed mean: average each coordinate without its most extreme values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from mtlbench import Method, Observation

if TYPE_CHECKING:
    import torch

BLOCK = 65_536
"""Columns sorted at a time: a sort of all K × P numbers would need that much memory twice again."""


@dataclass
class TrimmedMean(Method):
    """Coordinate-wise trimmed mean, a robust average from distributed learning.

    Every coordinate leaves out its ``trim`` largest and its ``trim`` smallest values among the K gradients, and
    averages the K − 2·trim that are left (paper, definition 2). 0 is the mean. A reference point rather than a
    multi-task method: it takes the gradient that differs for a wrong one.

    Deviation: the paper gives the share β of the values to drop at each end; here their number, βK.
    """

    name = "trimmed-mean"
    source = "Yin et al., Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates, ICML 2018"
    reads = "gradients"
    returns = "update"
    scale = "mean"
    properties = frozenset({"homogeneous"})

    trim: Annotated[int, Field(ge=0, description="how many values are left out at each end, per coordinate")] = 1

    @property
    def min_tasks(self) -> int:
        return 2 * self.trim + 1

    def update(self, observation: Observation) -> torch.Tensor:
        import torch

        rows = observation.gradients
        mean = torch.empty_like(rows[0])
        for start in range(0, len(mean), BLOCK):
            ordered = rows[:, start : start + BLOCK].sort(dim=0).values
            mean[start : start + BLOCK] = ordered[self.trim : observation.tasks - self.trim].mean(dim=0)
        return mean
