"""MoCo: track the gradients by moving averages, and the weights of their shortest combination."""

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

    The solution of MGDA depends nonlinearly on the gradients, so a solution for one batch is biased. MoCo instead
    tracks the solution with two averages (paper, algorithm 1), at step t = 1, 2, …::

        yᵢ ← yᵢ − β_t (yᵢ − gᵢ)                       β_t = β / t^σ, y starts at 0
        λ ← Π(λ − γ_t (Y Yᵀ + ρ I) λ)                 γ_t = γ / t^σ', λ starts at 1/K
        d = Σ λᵢ yᵢ

    with Y the K × P matrix of all yᵢ, and Π the projection onto the simplex. The step sizes and their decay are those
    of published code, where ρ is 0. Since γ multiplies squared gradients, the method is not invariant to their scale.

    Deviations: d uses λ and y after their updates, as published code does. The authors' code has a factor 2 in the step
    of λ, which corresponds to γ = 0.2 here. The code of a popular library rescales each gradient to the length of its
    loss (``normalize=loss``; a zero gradient stays zero) and replaces the projection by a softmax (``onto=softmax``);
    neither the paper nor the authors' code does so.
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
    beta_sigma: Annotated[float, Field(ge=0, description="exponent of the decay of that step size")] = 0.5
    gamma: Annotated[float, Field(gt=0, description="step size of the task weights")] = 0.1
    gamma_sigma: Annotated[float, Field(ge=0, description="exponent of the decay of that step size")] = 0.5
    rho: Annotated[float, Field(ge=0, description="pull ρ of the task weights towards 1/K")] = 0.0
    onto: Annotated[
        Literal["simplex", "softmax"],
        Field(description="map of the weights to the simplex: projection or softmax"),
    ] = "simplex"
    normalize: Annotated[
        Literal["none", "loss"], Field(description="length that each gradient is rescaled to: its own, or its loss")
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
        gradient = gram(self.tracked) @ self.task_weights + self.rho * self.task_weights
        updated = self.task_weights - gamma * gradient
        self.task_weights = project(updated) if self.onto == "simplex" else _softmax(updated)
        return rows.new_tensor(self.task_weights) @ self.tracked

    def _factor(self, observation: Observation, task: int) -> float:
        """Return the factor that rescales a task's gradient as :attr:`normalize` says."""
        if self.normalize == "none":
            return 1.0
        length = float(observation.gradients[task].norm())
        return float(observation.losses[task]) / length if length > 0.0 else 0.0


def _softmax(values: Vector) -> Vector:
    exponentials = np.exp(values - values.max())
    return exponentials / exponentials.sum()
