"""The last layer of an encoder for those tokens alone whose states are read: the first of every sequence."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from mtlbench.engine.packed.tape import Tape

KEYS, VALUES = ("key", "k_lin"), ("value", "v_lin")
"""What the families call the layers of an attention's keys and values."""


class FirstTokens:
    """Lets an encoder's last layer compute the states of first tokens, (1, S, width) in place of (1, T, width).

    Where a sequence's vector is its first token's state, nothing else of the last layer reaches a loss: its queries,
    and all that follows attention, are needed for S tokens; keys and values for all T. The states and their gradients
    are those of the whole layer; dropout masks are drawn for the rows that there are.

    :param encoder: of a family whose layers are called with the states first.
    :param tape: has the pack when the encoder runs.
    """

    def __init__(self, encoder: nn.Module, tape: Tape) -> None:
        from transformers.modeling_layers import GradientCheckpointingLayer

        self._tape = tape
        self._kept: dict[nn.Module, torch.Tensor] = {}
        layer = [module for module in encoder.modules() if isinstance(module, GradientCheckpointingLayer)][-1]
        (attention,) = (module for module in layer.modules() if any(hasattr(module, name) for name in KEYS))
        self._key, self._value = (
            next(getattr(attention, name) for name in names if hasattr(attention, name)) for names in (KEYS, VALUES)
        )
        layer.register_forward_pre_hook(self._cut)
        for projection in (self._key, self._value):
            projection.register_forward_pre_hook(self._whole)
            projection.register_forward_hook(self._keep)
        attention.first_tokens = self  # the attention function finds it there

    def take(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the (T, heads · width) keys and values of the layer that is running, once."""
        self._tape.states = None
        return self._kept.pop(self._key)[0], self._kept.pop(self._value)[0]

    def _cut(self, layer: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        self._tape.states, *others = given
        return (self._of_first(self._tape.states), *others)

    def _whole(self, projection: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        return (self._tape.states,)

    def _keep(self, projection: nn.Module, given: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
        self._kept[projection] = output
        return self._of_first(output)  # of the shape that the layer's own code expects; not used

    def _of_first(self, states: torch.Tensor) -> torch.Tensor:
        assert self._tape.pack is not None
        return states.index_select(1, self._tape.pack.first_tokens)
