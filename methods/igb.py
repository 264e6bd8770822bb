"""IGB: the sum of log-losses, with more weight on tasks that have improved least since early training."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from mtlbench import Method, Observation, Vector


@dataclass
class IGB(Method):
    """Improvable gap balancing, version 1.

    The loss is Σ wᵢ log Lᵢ, and a task's improvable gap is its loss relative to the mean loss B of an early stage::

        w = K softmax(L/B)        coefficient of gᵢ: wᵢ/Lᵢ, heads included

    During the warm-up w = 1, which is ``si``. Multiplying a loss by a constant changes nothing.

    Deviation: the authors' code takes B over the second epoch. Tasks with data sets of different sizes have no common
    epoch, so here B is the mean over the second half of ``warmup`` steps, which must be long enough to average out the
    noise of single batches. Version 2 of the paper trains an agent that chooses w, and is another kind of method.
    """

    name = "igb"
    reads = "losses"
    heads = "weighted"
    scale = "sum"
    state = "K"
    properties = frozenset({"homogeneous", "linear under scaling", "loss-scale invariant"})
    source = "Dai, Fei and Lu, Improvable Gap Balancing for Multi-Task Learning, UAI 2023"

    warmup: Annotated[int, Field(ge=1, description="steps with the sum of log-losses; the second half gives B")] = 50

    steps: int = field(default=0, init=False)
    total: Vector | None = field(default=None, init=False)

    @property
    def reads_losses(self) -> Literal["no", "any", "positive"]:
        return "positive"

    def weights(self, observation: Observation) -> Vector:
        from scipy.special import softmax

        counted = math.ceil(self.warmup / 2)
        if self.steps < self.warmup:
            self.steps += 1
            if self.steps > self.warmup - counted:
                self.total = observation.losses + (0.0 if self.total is None else self.total)
            return 1.0 / observation.losses
        assert self.total is not None
        gaps = observation.losses * counted / self.total
        return observation.tasks * softmax(gaps) / observation.losses
