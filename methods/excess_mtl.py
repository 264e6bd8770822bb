"""ExcessMTL: give more weight to tasks whose loss is still far above its reachable minimum."""

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
    """Task weights from excess risks: noisy labels, whose loss is high but cannot fall, gain no weight.

    The excess risk is estimated by a quadratic model with Adagrad's curvature per coordinate (paper, equations 6 and
    7), and the weights take an exponentiated-gradient step (paper, equation 9)::

        Sᵢ ← Sᵢ + gᵢ²,    Eᵢ = Σ gᵢ² / √Sᵢ,    wᵢ ∝ wᵢ exp(η Eᵢ/Eᵢ(0))

    Eᵢ(0) is the value at the first step, which uses w = (1, …, 1); the network descends Σ wᵢ Lᵢ, heads included. The
    step size η is that of published code.

    Deviations: weights sum to K, as in the authors' code; in the paper they sum to 1. The authors' code adds 10⁻⁷ to
    Sᵢ; here a coordinate whose gradient was always zero contributes 0 instead, so that tiny gradients count like any
    others and scaling a loss does not change its weight. For a task whose first gradient is zero, Eᵢ(0) is the first
    non-zero Eᵢ, and until then its ratio is 0. The paper's appendix waits three epochs before it records Eᵢ(0); the
    authors' code does not.
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
            logits = self.logits + self.step_size * ratios
            self.logits = logits - logits.max()
        exponentials = np.exp(self.logits)
        return observation.tasks * exponentials / exponentials.sum()


def _excess(row: torch.Tensor, total: torch.Tensor) -> float:
    """Add a gradient's squares to the total S in place, and return Σ g²/√S."""
    import torch

    total.addcmul_(row, row)
    root = total.sqrt().clamp_min_(torch.finfo(total.dtype).tiny)  # 0/0 becomes 0
    return float(root.reciprocal_().mul_(row).mul_(row).sum(dtype=torch.float64))
