"""What happens in a backward pass over a pack: every layer hands its inputs and output gradients to a collector."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import nn

from mtlbench.engine.packed.pack import Pack


class Collector(Protocol):
    """Takes what the layers with parameters hand over, and makes gradients of it."""

    def linear(self, layer: nn.Linear, inputs: torch.Tensor, gradient: torch.Tensor) -> None:
        """Take (n, in) inputs and the (n, out) gradient of the outputs."""

    def norm(
        self, layer: nn.LayerNorm, inputs: torch.Tensor, gradient: torch.Tensor, statistics: list[torch.Tensor]
    ) -> torch.Tensor:
        """Take (n, width) inputs and gradient, mean and reciprocal deviation; return the gradient of the inputs."""

    def embedding(self, layer: nn.Embedding, ids: torch.Tensor, gradient: torch.Tensor) -> None:
        """Take (n,) row numbers and the (n, width) gradient of the outputs, zero where a number is padding."""


class Tape:
    """What the layers of one model have in common during a step: the pack, and the collector of the backward pass."""

    def __init__(self) -> None:
        self.pack: Pack | None = None
        self.collector: Collector | None = None
        self.states: torch.Tensor | None = None
        """What goes into the last layer, (1, T, width), while :class:`FirstTokens` cuts it."""
