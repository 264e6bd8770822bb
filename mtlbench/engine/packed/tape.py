"""Tape and collectors: in the backward pass, layers pass their inputs and output gradients to a collector."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

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
        self.rotations: tuple[torch.Tensor, torch.Tensor] | None = None
        """(1, T, width) cosines and sines that rotate its keys meanwhile, in families with rotary positions."""

    @property
    def context(self) -> tuple[Any, ...]:
        """What the layers of a forward read besides their inputs."""
        return self.pack, self.states, self.rotations

    @contextmanager
    def within(self, context: tuple[Any, ...]) -> Iterator[None]:
        """Bring back the context of an earlier forward for a while, to recompute layers of it."""
        current = self.context
        self.pack, self.states, self.rotations = context
        try:
            yield
        finally:
            self.pack, self.states, self.rotations = current
