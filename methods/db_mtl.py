"""DB-MTL: rescale the gradients of the log-losses to the length of the longest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from mtlbench import Method, Observation

if TYPE_CHECKING:
    import torch


@dataclass
class DBMTL(Method):
    """Dual balancing: of the scales of the losses, by logarithms, and of the lengths of the gradients.

    With gᵢ/Lᵢ the gradient of log Lᵢ (paper, algorithm 1)::

        uᵢ ← β uᵢ + (1 − β) gᵢ/Lᵢ,    u starts at 0
        d = max ‖uⱼ‖ · Σ uᵢ/‖uᵢ‖

    The heads descend log Lᵢ. In published code β decays as β/t^σ, with σ = 0 by default (``beta_sigma``). The average
    is not bias-corrected, so the first update is 1 − β times that of the gradients themselves.

    Deviations: 10⁻⁸ is not added to losses and norms, since tiny gradients must count; a loss of exactly 0 counts as
    10⁻⁸, and a task whose uᵢ is zero is left out.
    """

    name = "db-mtl"
    source = "Lin et al., Dual-Balancing for Multi-Task Learning, 2023 (arXiv 2308.12029)"
    reads = "gradients"
    returns = "update"
    heads = "log"
    state = "K × P"
    properties = frozenset({"homogeneous", "loss-scale invariant"})
    search = {"beta": "0.1:0.99"}

    beta: Annotated[float, Field(ge=0, lt=1, description="decay of the averaged gradients at each step")] = 0.9
    beta_sigma: Annotated[float, Field(ge=0, description="exponent σ of the decay of beta over the steps")] = 0.0

    averages: Any = field(default=None, init=False)  # a (K, P) torch tensor
    steps: int = field(default=0, init=False)

    @property
    def reads_losses(self) -> Literal["no", "any", "positive"]:
        return "positive"

    def update(self, observation: Observation) -> torch.Tensor:
        rows = observation.gradients
        if self.averages is None:
            self.averages = rows.new_zeros(rows.shape)
        self.steps += 1
        beta = self.beta / self.steps**self.beta_sigma
        for average, row, loss in zip(self.averages, rows, observation.losses, strict=True):
            average.mul_(beta).add_(row, alpha=(1.0 - beta) / float(loss))
        lengths = np.array([float(average.norm()) for average in self.averages])
        factors = np.divide(lengths.max(), lengths, out=np.zeros_like(lengths), where=lengths > 0.0)
        return rows.new_tensor(factors) @ self.averages
