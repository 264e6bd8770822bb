"""M-ConFIG: the conflict-free direction of the gradients' moving averages, scaled as in Adam."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from mtlbench import Method, Observation, Vector
from mtlbench.methods.config import ConFIG

if TYPE_CHECKING:
    import torch


@dataclass
class MConFIG(Method):
    """ConFIG with momentum: each step updates the average of one task, and combines the averages of all K.

    At step t, for the task whose turn it is (paper, algorithm 1), with tᵢ its number of turns so far::

        mᵢ ← β₁ mᵢ + (1 − β₁) gᵢ,    m̂ᵢ = mᵢ / (1 − β₁^tᵢ)
        u = ConFIG(m̂₁, …, m̂_K)                      equal cosines to all m̂ᵢ, ‖u‖ = Σ ⟨m̂ᵢ, u⟩/‖u‖
        c ← u (1 − β₁^t),    h = (c − β₁ c_before) / (1 − β₁)
        v ← β₂ v + (1 − β₂) h²,    d = u / (√(v/(1 − β₂^t)) + ε)

    h is the pseudo gradient whose moving average would be u. ``refresh=all`` updates every average at every step.
    ε = 10⁻⁸ is that of Adam. The update does not scale with the gradients; the paper uses it with plain descent,
    whereas here the optimizer of the run is applied on top.

    The direction is that of the method ``config``, which ignores averages that are zero.

    Deviations: the first step updates all averages, since the engine computes all gradients at every step (which the
    paper's method avoids). The published code takes K − 1 steps of zero until every task has had a turn, and continues
    from there as this code does.
    """

    name = "config-m"
    source = "Liu et al., ConFIG: Towards Conflict-free Training of Physics Informed Neural Networks, ICLR 2025"
    reads = "gradients"
    returns = "update"
    symmetry = "in turns"
    state = "K × P"

    beta_1: Annotated[float, Field(ge=0, lt=1, description="decay of a task's average at its turn")] = 0.9
    beta_2: Annotated[float, Field(ge=0, lt=1, description="decay of the average square at each step")] = 0.999
    epsilon: Annotated[float, Field(gt=0, description="added to the divisor of the direction, as in Adam")] = 1e-8
    refresh: Annotated[
        Literal["one", "all"], Field(description="averages that a step updates: one task's, in turns, or all tasks'")
    ] = "one"

    averages: Any = field(default=None, init=False)  # a (K, P) torch tensor: mᵢ
    turns: Vector | None = field(default=None, init=False)
    steps: int = field(default=0, init=False)
    combined: Any = field(default=None, init=False)  # a (P,) torch tensor: c
    squares: Any = field(default=None, init=False)  # a (P,) torch tensor: v

    def update(self, observation: Observation) -> torch.Tensor:
        from mtlbench.solvers.inner_products import gram

        rows = observation.gradients
        if self.averages is None or self.turns is None:
            self.averages, self.turns = rows.new_zeros(rows.shape), np.zeros(observation.tasks)
            self.combined, self.squares = rows.new_zeros(rows.shape[1]), rows.new_zeros(rows.shape[1])
        all_tasks = self.refresh == "all" or self.steps == 0
        for task in range(observation.tasks) if all_tasks else [(self.steps - 1) % observation.tasks]:
            self.averages[task].mul_(self.beta_1).add_(rows[task], alpha=1.0 - self.beta_1)
            self.turns[task] += 1.0
        self.steps += 1
        correction = 1.0 - self.beta_1**self.turns
        corrected_averages = Observation(gram=gram(self.averages) / np.outer(correction, correction))
        factors = ConFIG().weights(corrected_averages) / correction
        return self._scaled(rows.new_tensor(factors) @ self.averages)

    def _scaled(self, direction: torch.Tensor) -> torch.Tensor:
        """Divide the direction by the root of its pseudo gradient's average square."""
        combined = direction * (1.0 - self.beta_1**self.steps)
        pseudo = (combined - self.combined.mul_(self.beta_1)).div_(1.0 - self.beta_1)
        self.combined = combined
        self.squares.mul_(self.beta_2).addcmul_(pseudo, pseudo, value=1.0 - self.beta_2)
        divisor = (self.squares / (1.0 - self.beta_2**self.steps)).sqrt_().add_(self.epsilon)
        return direction.div_(divisor)
