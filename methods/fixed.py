"""Fixed weights: a weighted sum of the losses, with weights set by the user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from mtlbench import Method, Observation, UsageError, Vector


@dataclass
class Fixed(Method):
    """Weighted sum of the losses with constant weights, also called scalarization.

    The loss is Σ wᵢ Lᵢ, and the heads descend wᵢ Lᵢ. ``w`` is one positive number for all tasks, or one number per
    task in the order of the tasks, separated by colons: ``fixed[w=2:1:0.5]``. The weights are not normalised; the
    default, 1, is ``sum``. To run several candidates at once: ``fixed[w=2:1:1/1:2:1/1:1:2]``.
    """

    name = "fixed"
    reads = "losses"
    heads = "weighted"
    scale = "sum"
    properties = frozenset({"homogeneous", "linear under scaling"})
    source = "Xin et al., Do Current Multi-Task Optimization Methods in Deep Learning Even Help?, NeurIPS 2022"
    search = {"w": "0.2:5:log:tasks"}

    w: Annotated[str, Field(description="positive weights separated by ':', one for all tasks or one per task")] = "1"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._numbers()

    def weights(self, observation: Observation) -> Vector:
        numbers = self._numbers()
        if len(numbers) not in (1, observation.tasks):
            raise UsageError(f"method fixed: w={self.w} has {len(numbers)} numbers for {observation.tasks} tasks")
        return np.broadcast_to(numbers, observation.tasks).copy()

    def _numbers(self) -> Vector:
        """Parse :attr:`w`, which stays a string so that the spec keeps the user's spelling."""
        try:
            numbers = np.array([float(part) for part in self.w.split(":")])
        except ValueError:
            numbers = np.zeros(1)
        if not (np.isfinite(numbers) & (numbers > 0.0)).all():
            raise UsageError(f"method fixed: parameter w={self.w} should be positive numbers with ':' between them")
        return numbers
