"""DWA: give more weight to tasks whose losses fall more slowly."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mtlbench import Method, Observation, UsageError, Vector


@dataclass
class DWA(Method):
    """Dynamic weight average.

    With the rates rᵢ = Lᵢ(t−1)/Lᵢ(t−2) of the two preceding time spans, w = K softmax(r/τ), so Σ wᵢ = K. In the first
    two spans w = 1. The weights apply to the whole loss, heads included.

    Deviation: in the paper a time span is an epoch, and Lᵢ(t) the mean loss over it. Tasks with data sets of different
    sizes have no common epoch, so here a span is ``window`` steps. A shorter window follows the losses faster, but its
    rates are noisier. A mean loss of exactly 0 over a span counts as 10⁻⁸; a negative mean loss is an error.
    """

    name = "dwa"
    reads = "losses"
    heads = "weighted"
    scale = "sum"
    state = "K"
    properties = frozenset({"homogeneous", "linear under scaling"})
    source = "Liu, Johns and Davison, End-to-End Multi-Task Learning with Attention, CVPR 2019"
    search = {"temperature": "0.5:8:log"}

    temperature: Annotated[float, Field(gt=0, description="τ: the higher, the more equal the weights")] = 2.0
    window: Annotated[int, Field(ge=1, description="number of steps in one time span")] = 25

    total: Vector | None = field(default=None, init=False)
    steps: int = field(default=0, init=False)
    last: Vector | None = field(default=None, init=False)
    before_last: Vector | None = field(default=None, init=False)

    @property
    def reads_losses(self) -> Literal["no", "any", "positive"]:
        return "any"

    def weights(self, observation: Observation) -> Vector:
        from scipy.special import softmax

        weights = np.ones(observation.tasks)
        if self.last is not None and self.before_last is not None:
            weights = observation.tasks * softmax(self.last / self.before_last / self.temperature)
        self._add(observation)
        return weights

    def _add(self, observation: Observation) -> None:
        """Add one step's losses to the current window; they affect the weights once the window is complete."""
        self.total = observation.losses.copy() if self.total is None else self.total + observation.losses
        self.steps += 1
        if self.steps == self.window:
            mean = self.total / self.window
            if (mean < 0.0).any():
                raise UsageError(
                    f"method dwa takes ratios of mean losses, so none of {self.window} steps may be negative: "
                    f"{mean.tolist()}"
                )
            self.last, self.before_last = observation.above_zero(mean), self.last
            self.total, self.steps = None, 0
