"""GradDrop: keep one sign per coordinate, drawn with a probability that grows with the agreement on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from mtlbench import Method, Observation

if TYPE_CHECKING:
    import torch


@dataclass
class GradDrop(Method):
    """Gradient sign dropout.

    For every coordinate, with sums over tasks (paper, equation 1 and algorithm 1)::

        P = ½ (1 + Σ gᵢ / Σ |gᵢ|)            the purity of the positive sign
        Mᵢ = [P > U][gᵢ > 0] + [P < U][gᵢ < 0]      U uniform on [0, 1)
        d = Σ (ℓ + (1 − ℓ) Mᵢ) gᵢ

    so a coordinate keeps either all positive parts or all negative parts. The leak ℓ is the share that always passes: 0
    is the full method, 1 the plain sum (some published code has it the other way round). P > U is tested as
    Σ g⁺ > U Σ |g|, which avoids 0/0 where all gradients are zero.

    Deviations: the paper masks the gradients of activations, after multiplying their signs by those of the activations
    and summing over the batch; here the gradients of the shared parameters are masked. All tasks have the same leak.
    """

    name = "graddrop"
    source = "Chen et al., Just Pick a Sign: Optimizing Deep Multitask Models with Gradient Sign Dropout, NeurIPS 2020"
    reads = "gradients"
    returns = "update"
    scale = "sum"
    properties = frozenset({"homogeneous"})
    search = {"leak": "0:0.9"}

    leak: Annotated[float, Field(ge=0, le=1, description="share ℓ of every gradient that is never dropped")] = 0.0

    def update(self, observation: Observation) -> torch.Tensor:
        import torch

        rows = observation.gradients
        positive, negative = torch.zeros_like(rows[0]), torch.zeros_like(rows[0])
        for row in rows:
            positive.add_(row.clamp(min=0.0))
            negative.add_(row.clamp(max=0.0))
        uniform = torch.empty_like(positive).uniform_(generator=self.torch_generator(rows.device))
        masked = torch.where(positive > uniform.mul_(positive - negative), positive, negative)
        return masked.mul_(1.0 - self.leak).add_(positive.add_(negative), alpha=self.leak)
