"""Tape and collectors: in the backward pass, layers pass their inputs and output gradients to a collector."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import nn

from mtlbench.engine.packed.pack import Pack


class Collector(Protocol):
    """Interface of the objects that compute gradients from the inputs and output gradients of layers."""

    def linear(self, layer: nn.Linear, inputs: torch.Tensor, gradient: torch.Tensor) -> None:
        """Receive the backward pass of a linear layer.

        :param layer: the layer.
        :param inputs: (n, in) inputs.
        :param gradient: (n, out) gradient of the outputs.
        """

    def norm(
        self, layer: nn.LayerNorm, inputs: torch.Tensor, gradient: torch.Tensor, statistics: list[torch.Tensor]
    ) -> torch.Tensor:
        """Receive the backward pass of a norm.

        :param layer: the layer.
        :param inputs: (n, width) inputs.
        :param gradient: (n, width) gradient of the outputs.
        :param statistics: (n, 1) mean and (n, 1) reciprocal deviation of each row.
        :returns: (n, width) gradient of the inputs.
        """

    def embedding(self, layer: nn.Embedding, ids: torch.Tensor, gradient: torch.Tensor) -> None:
        """Receive the backward pass of an embedding.

        :param layer: the layer.
        :param ids: (n,) row numbers.
        :param gradient: (n, width) gradient of the outputs, zero where a number is padding.
        """


class Tape:
    """State that the layers of a model share during a step: the pack, and the collector of the backward pass."""

    def __init__(self) -> None:
        self.pack: Pack | None = None
        self.collector: Collector | None = None
        self.states: torch.Tensor | None = None
        """(1, T, width) input of the last layer while :class:`FirstTokens` restricts it."""
