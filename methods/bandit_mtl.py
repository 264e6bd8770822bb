"""BanditMTL: tasks with high losses gain weight, within a ball around equal weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mtlbench import Method, Observation, Vector


@dataclass
class BanditMTL(Method):
    """Bandit-based multi-task learning: an adversary chooses the weights within a ball.

    An exponentiated-gradient step in the shares p of the tasks, then the projection, in the sense of the Kullback–
    Leibler divergence, onto {p: KL(p ‖ uniform) ≤ ρ}::

        p ← project(p ⊙ exp(ηL)), p = 1/K at first;    w = p

    The projection is p ∝ q^s with the largest s in [0, 1] that meets the bound. ρ = 0 gives the mean; from ρ = log K on
    the bound never binds, and the method is ``group-dro``. The weights apply to the whole loss, heads included.

    The rule was built from descriptions of the paper, whose loss adds the variance of the losses to their mean: what
    such a ball amounts to for small ρ. Its η and ρ were not checked.
    """

    name = "bandit-mtl"
    reads = "losses"
    heads = "weighted"
    scale = "mean"
    state = "K"
    properties = frozenset({"homogeneous", "linear under scaling"})
    source = "Mao et al., BanditMTL: Bandit-based Multi-task Learning for Text Classification, ACL 2021"
    search = {"step_size": "1e-3:1:log", "radius": "0.01:1:log"}

    step_size: Annotated[float, Field(ge=0, description="η: step size of the shares p")] = 0.1
    radius: Annotated[float, Field(ge=0, description="ρ: largest KL divergence of p from equal weights, in nats")] = 0.1

    logits: Vector | None = field(default=None, init=False)

    @property
    def reads_losses(self) -> Literal["no", "any", "positive"]:
        return "any"

    def weights(self, observation: Observation) -> Vector:
        from scipy.special import softmax

        logits = (0.0 if self.logits is None else self.logits) + self.step_size * observation.losses
        self.logits = _project(logits - logits.max(), self.radius)
        return softmax(self.logits)


def _project(logits: Vector, radius: float) -> Vector:
    """Return s·logits with the largest s in [0, 1] for which KL(softmax ‖ uniform) is at most the radius."""
    from scipy.optimize import brentq

    if _divergence(logits) <= radius:
        return logits
    if radius == 0.0:
        return np.zeros_like(logits)
    return logits * float(brentq(lambda s: _divergence(s * logits) - radius, 0.0, 1.0, xtol=1e-15))


def _divergence(logits: Vector) -> float:
    """Return KL(softmax(logits) ‖ uniform) in nats."""
    from scipy.special import entr, softmax

    return float(np.log(len(logits)) - entr(softmax(logits)).sum())
