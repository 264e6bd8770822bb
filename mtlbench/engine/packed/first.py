"""Restriction of an encoder's last layer to the tokens whose states are read: the first of every sequence."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import nn

from mtlbench.engine.packed.tape import Tape

KEYS, VALUES, JOINED = ("key", "k_lin"), ("value", "v_lin"), ("Wqkv",)
"""Attribute names of an attention's key and value layers in the encoder families, or of the one layer that computes
queries, keys and values."""
NORM = "attn_norm"
"""Attribute name of the norm between a layer's input and its attention, in families that have one."""


class FirstTokens:
    """Hooks that make an encoder's last layer compute only first tokens: (1, S, width) in place of (1, T, width).

    Where a sequence's vector is the state of its first token, no other state of the last layer reaches a loss. Queries
    and all steps after attention are then needed for S tokens, keys and values for all T. States and gradients equal
    those of the whole layer; dropout masks are drawn for the remaining rows only.

    :param encoder: an encoder whose layers take the states as their first argument, and rotations of queries and keys,
        if any, as ``position_embeddings``.
    :param tape: holds the pack when the encoder runs.
    """

    def __init__(self, encoder: nn.Module, tape: Tape) -> None:
        from transformers.modeling_layers import GradientCheckpointingLayer

        self._tape = tape
        self._outputs: dict[nn.Module, torch.Tensor] = {}
        layer = [module for module in encoder.modules() if isinstance(module, GradientCheckpointingLayer)][-1]
        # not dictionaries of adapters, which may have any name
        modules = [module for module in layer.modules() if not isinstance(module, nn.ModuleDict)]
        (attention,) = (module for module in modules if any(hasattr(module, name) for name in KEYS + JOINED))
        self._projections = [getattr(attention, name) for name in KEYS + VALUES + JOINED if hasattr(attention, name)]
        self._module = sys.modules[type(attention).__module__]
        layer.register_forward_pre_hook(self._cut, with_kwargs=True)
        if hasattr(layer, NORM):
            norm = getattr(layer, NORM)
            norm.register_forward_pre_hook(self._whole)
            norm.register_forward_hook(self._go_on)
        for projection in self._projections:
            projection.register_forward_pre_hook(self._whole)
            projection.register_forward_hook(self._keep)
        attention.first_tokens = self  # read by the attention function

    def take(self, heads: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Remove and return the (T, heads, width) keys and values of the running layer."""
        rotations, self._tape.states, self._tape.rotations = self._tape.rotations, None, None
        outputs = [self._outputs.pop(projection)[0] for projection in self._projections]
        if len(outputs) == 1:
            _, key, value = outputs[0].view(-1, 3, heads, width).unbind(1)
        else:
            key, value = (output.view(-1, heads, width) for output in outputs)
        return key if rotations is None else self._rotated(key, rotations), value

    def _rotated(self, rows: torch.Tensor, rotations: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Rotate (T, heads, width) keys by the family's own function, which is given no queries."""
        keys = rows.transpose(0, 1).unsqueeze(0)
        _, rotated = self._module.apply_rotary_pos_emb(keys[:, :0], keys, *rotations)
        return rotated[0].transpose(0, 1)

    def _cut(self, layer: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[Any, Any]:
        self._tape.states, *others = arguments
        if "position_embeddings" in keywords:
            self._tape.rotations = keywords["position_embeddings"]
            keywords = keywords | {"position_embeddings": tuple(map(self._of_first, self._tape.rotations))}
        return (self._of_first(self._tape.states), *others), keywords

    def _whole(self, module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        return (self._tape.states,)

    def _go_on(self, norm: nn.Module, arguments: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
        self._tape.states = output
        return self._of_first(output)

    def _keep(self, projection: nn.Module, arguments: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
        self._outputs[projection] = output
        return self._of_first(output)  # unused, but for queries; of the shape that the layer's own code expects

    def _of_first(self, states: torch.Tensor) -> torch.Tensor:
        assert self._tape.pack is not None
        return states.index_select(1, self._tape.pack.first_tokens)
