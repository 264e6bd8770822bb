"""IMTL-L: learn a factor for each loss that brings all losses to one scale."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mtlbench import Method, Observation, UsageError, Vector
from mtlbench.solvers.adam import Adam


@dataclass
class IMTLL(Method):
    """Impartial multi-task learning, the loss balance.

    The loss is Σ e^(sᵢ) Lᵢ − sᵢ with sᵢ learned from s = 0 on, so wᵢ = e^(sᵢ), which is pulled to 1/Lᵢ: all weighted
    losses to 1. That is ``uw`` with −s in place of s and twice the loss. The weights of a step come from s before its
    update, as in one backward pass through the loss, which is weighted as a whole, heads included. Negative losses are
    an error: the loss has no minimum in s.

    Deviation: the paper trains s with the network's optimizer; here s has Adam and a learning rate of its own, .025,
    the same as in ``uw``.
    """

    name = "imtl-l"
    reads = "losses"
    heads = "weighted"
    scale = "sum"
    state = "K"
    properties = frozenset({"homogeneous", "linear under scaling"})
    source = "Liu et al., Towards Impartial Multi-task Learning, ICLR 2021"
    search = {"lr": "0.0025:0.25:log"}

    lr: Annotated[float, Field(gt=0, description="learning rate of the log-factors s")] = 0.025

    log_factors: Vector | None = field(default=None, init=False)
    adam: Adam = field(default_factory=Adam, init=False)

    @property
    def reads_losses(self) -> Literal["no", "any", "positive"]:
        return "any"

    def weights(self, observation: Observation) -> Vector:
        if (observation.losses < 0.0).any():
            raise UsageError(f"method imtl-l needs losses that are not negative: {observation.losses.tolist()}")
        s = np.zeros(observation.tasks) if self.log_factors is None else self.log_factors
        used = np.exp(s)
        self.log_factors = self.adam.step(s, used * observation.losses - 1.0, self.lr)
        return used
