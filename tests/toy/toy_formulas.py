"""The toy problem as its papers write it."""

from __future__ import annotations

import torch


def published(point: torch.Tensor, scale: float) -> torch.Tensor:
    """The losses as the papers write them."""
    x1, x2 = point
    f1 = torch.clamp((0.5 * (-x1 - 7) - torch.tanh(-x2)).abs(), 5e-6).log() + 6
    f2 = torch.clamp((0.5 * (-x1 + 3) + torch.tanh(-x2) + 2).abs(), 5e-6).log() + 6
    c1, c2 = torch.clamp(torch.tanh(x2 / 2), 0), torch.clamp(torch.tanh(-x2 / 2), 0)
    q1 = ((-x1 + 7) ** 2 + 0.1 * (-x2 - 8) ** 2) / 10 - 20
    q2 = ((-x1 - 7) ** 2 + 0.1 * (-x2 - 8) ** 2) / 10 - 20
    return torch.stack([scale * (f1 * c1 + q1 * c2), f2 * c1 + q2 * c2])
