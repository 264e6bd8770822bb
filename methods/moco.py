"""MoCo: track the gradients with moving averages, and the weights of the shortest combination with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from mtlbench import Method, Observation, Vector
from mtlbench.solvers.simplex import project

if TYPE_CHECKING:
    import torch


@dataclass
class MoCo(Method):
    """Multi-objective gradient correction.

    The solution of MGDA depends nonlinearly on the gradients, so that of a batch is biased. MoCo follows it with two
    averages instead (paper, algorithm 1), at step t = 1, 2, …::

        yᵢ ← yᵢ − β_t (yᵢ − gᵢ)                       β_t = β / t^σ, y starts at 0
        λ ← Π(λ − γ_t (Y Yᵀ + ρ I) λ)                 γ_t = γ / t^σ', λ starts at 1/K
        d = Σ λᵢ yᵢ

    with Y the K × P matrix of all yᵢ, and Π the projection onto the simplex. The steps' sizes and their decay are those
    of published code; ρ is 0 there. Since γ meets squared gradients, the method is not invariant to their scale.

    Deviations: d takes λ and y from after their updates, as published code does. The authors' code has a factor 2 in
    the step of λ, which is γ = 0.2 here. Code in a popular library brings each gradient to the length of its loss
    (``normalize=loss``; a zero gradient stays zero) and replaces the projection with a softmax (``onto=softmax``); the
    paper has neither, and nor has the authors' own code.
    """

    name = "moco"
    source = (
        "Fernando et al., Mitigating Gradient Bias in Multi-Objective Learning: A Provably Convergent Approach, "
        "ICLR 2023"
    )
    reads = "gradients"
    returns = "update"
    state = "K × P"
    search = {"gamma": "0.01:10:log"}

    beta: Annotated[float, Field(gt=0, le=1, description="step size of the tracked gradients")] = 0.5
    beta_sigma: Annotated[float, Field(ge=0, description="exponent of that step size's decay")] = 0.5
    gamma: Annotated[float, Field(gt=0, description="step size of the task weights")] = 0.1
    gamma_sigma: Annotated[float, Field(ge=0, description="exponent of that step size's decay")] = 0.5
    rho: Annotated[float, Field(ge=0, description="pull of the task weights to 1/K")] = 0.0
    onto: Annotated[
        Literal["simplex", "softmax"],
        Field(description="what brings the weights to the simplex: projection, softmax"),
    ] = "simplex"
    normalize: Annotated[
        Literal["none", "loss"], Field(description="length that each gradient is brought to: its own, or its loss")
    ] = "none"

    tracked: Any = field(default=None, init=False)  # a (K, P) torch tensor
    task_weights: Vector | None = field(default=None, init=False)
    steps: int = field(default=0, init=False)

    @property
    def reads_losses(self) -> Literal["no", "any", "positive"]:
        return "any" if self.normalize == "loss" else "no"

    def update(self, observation: Observation) -> torch.Tensor:
        from mtlbench.solvers.inner_products import gram

        rows = observation.gradients
        if self.tracked is None or self.task_weights is None:
            self.tracked, self.task_weights = (
                rows.new_zeros(rows.shape),
                np.full(observation.tasks, 1.0 / observation.tasks),
            )
        self.steps += 1
        beta, gamma = self.beta / self.steps**self.beta_sigma, self.gamma / self.steps**self.gamma_sigma
        for i, row in enumerate(rows):
            self.tracked[i].mul_(1.0 - beta).add_(row, alpha=beta * self._factor(observation, i))
        slope = gram(self.tracked) @ self.task_weights + self.rho * self.task_weights
        moved = self.task_weights - gamma * slope
        self.task_weights = project(moved) if self.onto == "simplex" else _softmax(moved)
        return rows.new_tensor(self.task_weights) @ self.tracked

    def _factor(self, observation: Observation, task: int) -> float:
        """Return what brings a gradient to its wanted length."""
        if self.normalize == "none":
            return 1.0
        length = float(observation.gradients[task].norm())
        return float(observation.losses[task]) / length if length > 0.0 else 0.0


def _softmax(values: Vector) -> Vector:
    raised = np.exp(values - values.max())
    return raised / raised.sum()
