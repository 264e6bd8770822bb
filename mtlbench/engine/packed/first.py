"""Restriction of an encoder's last layer to the tokens whose states are read: the first of every sequence."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from mtlbench.engine.packed.tape import Tape

KEYS, VALUES = ("key", "k_lin"), ("value", "v_lin")
"""Attribute names of an attention's key and value layers in the encoder families."""


class FirstTokens:
    """Hooks that make an encoder's last layer compute only first tokens: (1, S, width) in place of (1, T, width).

    Where a sequence's vector is the state of its first token, no other state of the last layer reaches a loss. Queries
    and all steps after attention are then needed for S tokens, keys and values for all T. States and gradients equal
    those of the whole layer; dropout masks are drawn for the remaining rows only.

    :param encoder: an encoder whose layers take the states as their first argument.
    :param tape: holds the pack when the encoder runs.
    """

    def __init__(self, encoder: nn.Module, tape: Tape) -> None:
        from transformers.modeling_layers import GradientCheckpointingLayer

        self._tape = tape
        self._outputs: dict[nn.Module, torch.Tensor] = {}
        layer = [module for module in encoder.modules() if isinstance(module, GradientCheckpointingLayer)][-1]
        (attention,) = (module for module in layer.modules() if any(hasattr(module, name) for name in KEYS))
        self._key, self._value = (
            next(getattr(attention, name) for name in names if hasattr(attention, name)) for names in (KEYS, VALUES)
        )
        layer.register_forward_pre_hook(self._cut)
        for projection in (self._key, self._value):
            projection.register_forward_pre_hook(self._whole)
            projection.register_forward_hook(self._keep)
        attention.first_tokens = self  # read by the attention function

    def take(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Remove and return the (T, heads · width) keys and values of the running layer."""
        self._tape.states = None
        return self._outputs.pop(self._key)[0], self._outputs.pop(self._value)[0]

    def _cut(self, layer: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        self._tape.states, *others = arguments
        return (self._of_first(self._tape.states), *others)

    def _whole(self, projection: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        return (self._tape.states,)

    def _keep(self, projection: nn.Module, arguments: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
        self._outputs[projection] = output
        return self._of_first(output)  # unused, but of the shape that the layer's own code expects

    def _of_first(self, states: torch.Tensor) -> torch.Tensor:
        assert self._tape.pack is not None
        return states.index_select(1, self._tape.pack.first_tokens)
