"""Trimmed mean: average each coordinate without its extreme values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from mtlbench import Method, Observation

if TYPE_CHECKING:
    import torch

BLOCK = 65_536
"""Columns to sort at a time: sorting all K × P numbers would need twice their memory in addition."""


@dataclass
class TrimmedMean(Method):
    """Coordinate-wise trimmed mean, a robust average from distributed learning.

    For every coordinate, the ``trim`` largest and the ``trim`` smallest values of the K gradients are dropped, and the
    remaining K − 2·trim are averaged (paper, definition 2). With 0, the update is the mean. It is a reference point
    rather than a multi-task method, as it treats a differing gradient as a wrong one.

    Deviation: the paper specifies the share β of values to drop at each end; here ``trim`` is their number, βK.
    """

    name = "trimmed-mean"
    source = "Yin et al., Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates, ICML 2018"
    reads = "gradients"
    returns = "update"
    scale = "mean"
    properties = frozenset({"homogeneous"})

    trim: Annotated[int, Field(ge=0, description="number of values dropped at each end, per coordinate")] = 1

    @property
    def min_tasks(self) -> int:
        return 2 * self.trim + 1

    def update(self, observation: Observation) -> torch.Tensor:
        import torch

        rows = observation.gradients
        mean = torch.empty_like(rows[0])
        for start in range(0, len(mean), BLOCK):
            sorted_rows = rows[:, start : start + BLOCK].sort(dim=0).values
            mean[start : start + BLOCK] = sorted_rows[self.trim : observation.tasks - self.trim].mean(dim=0)
        return mean
