"""ExcessMTL: more weight to tasks whose loss is still far above the least that they can reach."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from mtlbench import Method, Observation, Vector

if TYPE_CHECKING:
    import torch


@dataclass
class ExcessMTL(Method):
    """Task weights from excess risks, so that noisy labels (a high loss that cannot fall) attract no weight.

    The excess risk is estimated by a quadratic model whose curvature is that of Adagrad, per coordinate (paper,
    equations 6 and 7), and the weights take a step of exponentiated gradient (paper, equation 9)::

        Sᵢ ← Sᵢ + gᵢ²,    Eᵢ = Σ gᵢ² / √Sᵢ,    wᵢ ∝ wᵢ exp(η Eᵢ/Eᵢ(0))

    Eᵢ(0) is that of the first step, which uses w = (1, …, 1); the network descends Σ wᵢ Lᵢ, heads included. The step
    size η is that of published code.

    Deviations: weights sum to K, as in the authors' code, not to 1, as in the paper. The authors' code adds 10⁻⁷ to Sᵢ;
    here a coordinate that never moved counts 0 instead, so that tiny gradients count as others do and a loss times a
    constant keeps its weight. For a task whose first gradient is zero, Eᵢ(0) is the first Eᵢ that is not, and until
    then its ratio is 0. The paper's appendix lets three epochs pass before Eᵢ(0) is taken; that code does not.
    """

    name = "excess-mtl"
    source = "He et al., Robust Multi-Task Learning with Excess Risks, ICML 2024"
    reads = "gradients"
    heads = "weighted"
    scale = "sum"
    state = "K × P"
    properties = frozenset({"homogeneous", "linear under scaling"})
    search = {"step_size": "1e-3:1:log"}

    step_size: Annotated[float, Field(ge=0, description="step size η of the task weights")] = 0.01

    squares: Any = field(default=None, init=False)  # a (K, P) torch tensor: Sᵢ
    first_excess: Vector | None = field(default=None, init=False)
    logits: Vector | None = field(default=None, init=False)

    def weights(self, observation: Observation) -> Vector:
        rows = observation.gradients
        if self.squares is None:
            self.squares = rows.new_zeros(rows.shape)
        excess = np.array([_excess(row, total) for row, total in zip(rows, self.squares, strict=True)])
        if self.first_excess is None or self.logits is None:
            self.first_excess, self.logits = excess, np.zeros(observation.tasks)
        else:
            self.first_excess = np.where(self.first_excess > 0.0, self.first_excess, excess)
            ratios = excess / np.where(self.first_excess > 0.0, self.first_excess, 1.0)
            moved = self.logits + self.step_size * ratios
            self.logits = moved - moved.max()
        raised = np.exp(self.logits)
        return observation.tasks * raised / raised.sum()


def _excess(row: torch.Tensor, total: torch.Tensor) -> float:
    """Add a gradient's squares to their total, and return Σ g²/√S."""
    import torch

    total.addcmul_(row, row)
    root = total.sqrt().clamp_min_(torch.finfo(total.dtype).tiny)  # 0/0 becomes 0
    return float(root.reciprocal_().mul_(row).mul_(row).sum(dtype=torch.float64))
