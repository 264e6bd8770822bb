"""FAMO: weights that let all log-losses fall at the same rate, learned from the losses before and after each step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mtlbench import Method, Observation, UsageError, Vector
from mtlbench.solvers.adam import Adam

EPSILON = 1e-8
"""Added to every loss, as in the authors' code, so that a loss at its lower bound has a logarithm. Equals the floor for
the losses of other methods, :data:`mtlbench.contract.observation.FLOOR`."""


@dataclass
class FAMO(Method):
    """Fast adaptive multitask optimization.

    With z = softmax(ξ), ξ = 0 at first, and b a lower bound of the losses, the step descends c Σ zᵢ log(Lᵢ − b + 10⁻⁸)
    with c = 1/Σ zᵢ/(Lᵢ − b + 10⁻⁸) held constant, so wᵢ = c zᵢ/(Lᵢ − b + 10⁻⁸) and Σ wᵢ = 1. The loss as a whole is
    weighted, heads included. After the step, the losses of the same batches show how much each task improved::

        δᵢ = log(Lᵢ before − b + 10⁻⁸) − log(Lᵢ after − b + 10⁻⁸)
        ξ ← ξ − β (∇_ξ Σ zᵢ δᵢ + γ ξ)

    with δ held constant, so ∇_ξᵢ = zᵢ (δᵢ − Σ zⱼ δⱼ): tasks that improved less gain weight.

    In your own training loop, call ``after_step(losses)`` after the optimizer's step, with losses on the same batches.

    Choices: as in the authors' code, ξ is updated by Adam, γ ξ is added to its gradient, and β = .025. The paper's
    γ is .001; its code has .01 (the default of its command line and of its stand-alone file) and 10⁻⁵ (elsewhere).
    The shared update is clipped at norm 1 as in the stand-alone file; the code of the experiments clips before the
    backward pass, where clipping has no effect. Deviation: b is one number for all tasks; theirs is one per task.
    """

    name = "famo"
    reads = "losses"
    reads_after = True
    heads = "weighted"
    scale = "mean"
    state = "K"
    properties = frozenset({"homogeneous", "linear under scaling"})
    source = "Liu et al., FAMO: Fast Adaptive Multitask Optimization, NeurIPS 2023"
    search = {"lr": "0.0025:0.25:log", "gamma": "1e-5:0.1:log"}

    lr: Annotated[float, Field(gt=0, description="β: learning rate of the logits ξ")] = 0.025
    gamma: Annotated[float, Field(ge=0, description="γ: weight decay of the logits ξ")] = 0.001
    minimum: Annotated[float, Field(allow_inf_nan=False, description="b: lower bound of every loss")] = 0.0
    max_norm: Annotated[float, Field(ge=0, description="the shared update is clipped to this norm; 0: never")] = 1.0

    logits: Vector | None = field(default=None, init=False)
    before: Vector | None = field(default=None, init=False)
    adam: Adam = field(default_factory=Adam, init=False)

    @property
    def reads_losses(self) -> Literal["no", "any", "positive"]:
        return "any"

    @property
    def clip_norm(self) -> float | None:
        return self.max_norm or None

    def weights(self, observation: Observation) -> Vector:
        from scipy.special import softmax

        if self.before is not None:
            raise UsageError("method famo: call method.after_step(losses) after every optimizer step")
        if (observation.losses < self.minimum).any():
            raise UsageError(
                f"method famo: losses must be at least minimum={self.minimum}, got {observation.losses.tolist()}"
            )
        observation.note_zeros(observation.losses - self.minimum)
        self.before = observation.losses.copy()
        if self.logits is None:
            self.logits = np.zeros(observation.tasks)
        shares = softmax(self.logits) / (observation.losses - self.minimum + EPSILON)
        return shares / shares.sum()

    def after_step(self, losses: Vector) -> None:
        from scipy.special import softmax

        if self.before is None or self.logits is None:
            raise UsageError("method famo: after_step was called without a step before it")
        after = np.asarray(losses, dtype=np.float64)
        if after.shape != self.before.shape or not (np.isfinite(after) & (after >= self.minimum)).all():
            raise UsageError(
                f"method famo: after_step takes {len(self.before)} finite losses of at least minimum={self.minimum}, "
                f"got {after.tolist()}"
            )
        improvements = np.log(self.before - self.minimum + EPSILON) - np.log(after - self.minimum + EPSILON)
        z = softmax(self.logits)
        self.logits = self.adam.step(
            self.logits, z * (improvements - z @ improvements), self.lr, weight_decay=self.gamma
        )
        self.before = None
