"""Layers whose backward passes inputs and output gradients to the tape's collector, in place of autograd."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from mtlbench.engine.packed.adapters import adapter_fault
from mtlbench.engine.packed.dropout import dropped
from mtlbench.engine.packed.tape import Tape
from mtlbench.errors import CellError

SUPPORTED = (nn.Linear, nn.LayerNorm, nn.Embedding)


def unsupported(model: nn.Module) -> str | None:
    """Return name and class, or fault, of the first layer that :func:`install` does not support, if any."""
    for name, layer in model.named_modules():
        if (fault := adapter_fault(layer, SUPPORTED)) is not None:
            return f"{name or 'the model'} ({fault})"
        if type(layer) not in SUPPORTED and next(layer.parameters(recurse=False), None) is not None:
            return f"{name or 'the model'} ({type(layer).__name__})"
        if type(layer) is nn.LayerNorm and layer.elementwise_affine and len(layer.normalized_shape) > 1:
            return f"{name or 'the model'} (LayerNorm over more than one dimension)"
        if isinstance(layer, nn.Embedding) and (layer.max_norm is not None or layer.scale_grad_by_freq):
            return f"{name} (Embedding with max_norm or scale_grad_by_freq)"
    return None


def install(model: nn.Module, tape: Tape) -> None:
    """Make every trained layer of a model pass its gradients to the tape; parameters and their names do not change."""
    for layer in model.modules():
        if type(layer) in SUPPORTED and any(parameter.requires_grad for parameter in layer.parameters()):
            function = {nn.Linear: _linear, nn.LayerNorm: _norm, nn.Embedding: _embedding}[type(layer)]
            layer.forward = _bound(function, layer, tape)


def install_dropout(model: nn.Module, tape: Tape) -> None:
    """Make every dropout layer draw its masks from the seeds of the pack.

    Masks depend on a layer's number in the model's order; those of attention weights, on the number of the attention
    layer.
    """
    for site, layer in enumerate(model.modules()):
        layer.dropout_site = site  # type: ignore[assignment]
        if isinstance(layer, nn.Dropout):
            layer.forward = _bound(_dropout, layer, tape, site)  # type: ignore[method-assign]


def recomputed_layers(model: nn.Module) -> list[Any]:
    """Return the layers that transformers can recompute."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    return [layer for layer in model.modules() if isinstance(layer, GradientCheckpointingLayer)]


class Recomputation:
    """Activation checkpointing: every encoder layer stores only its input and is recomputed in the backward pass.

    :param model: the encoder, or a model that contains it.
    :param tape: the tape that the model's layers were installed with.
    :raises CellError: when the model has no layers that transformers can recompute.
    """

    def __init__(self, model: nn.Module, tape: Tape) -> None:
        self._layers = recomputed_layers(model)
        if not self._layers:
            raise CellError("checkpointing is not possible: transformers knows no layers of this encoder to recompute")

        def recompute(forward: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
            context = tape.context  # in a loop over tasks, the tape has another by the backward pass

            def restored(*inputs: Any, **options: Any) -> Any:
                with tape.within(context):
                    return forward(*inputs, **options)

            return checkpoint(restored, *arguments, use_reentrant=False, **keywords)

        for layer in self._layers:
            layer._gradient_checkpointing_func = recompute

    def switch(self, on: bool) -> None:
        """Turn recomputation on or off for the following forwards."""
        for layer in self._layers:
            layer.gradient_checkpointing = on


def _bound(function: Any, layer: nn.Module, tape: Tape, *options: Any) -> Any:
    def forward(inputs: torch.Tensor) -> torch.Tensor:
        return function(layer, tape, inputs, *options)

    return forward


def _dropout(layer: nn.Dropout, tape: Tape, inputs: torch.Tensor, site: int) -> torch.Tensor:
    if not layer.training or layer.p == 0.0:
        return inputs
    assert tape.pack is not None
    return dropped(inputs, layer.p, tape.pack, site)


def _linear(layer: nn.Linear, tape: Tape, inputs: torch.Tensor) -> torch.Tensor:
    device = inputs.device.type
    if torch.is_autocast_enabled(device):  # autocast does not reach into custom autograd functions
        inputs = inputs.to(torch.get_autocast_dtype(device))
    return _Linear.apply(inputs, layer.weight, layer.bias, layer, tape)  # type: ignore[no-untyped-call]


def _norm(layer: nn.LayerNorm, tape: Tape, inputs: torch.Tensor) -> torch.Tensor:
    if torch.is_autocast_enabled(inputs.device.type):
        inputs = inputs.to(layer.weight.dtype)  # norms in single precision, as autocast computes them on a GPU
    return _Norm.apply(inputs, layer.weight, layer.bias, layer, tape)  # type: ignore[no-untyped-call]


def _embedding(layer: nn.Embedding, tape: Tape, ids: torch.Tensor) -> torch.Tensor:
    return _Embedding.apply(layer.weight, ids, layer, tape)  # type: ignore[no-untyped-call]


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Any, weight: Any, bias: Any, layer: nn.Linear, tape: Tape) -> Any:
        weight = weight.to(inputs.dtype)
        ctx.save_for_backward(inputs, weight)
        ctx.layer, ctx.tape = layer, tape
        return functional.linear(inputs, weight, None if bias is None else bias.to(inputs.dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Any) -> Any:
        inputs, weight = ctx.saved_tensors
        flat = gradient.reshape(-1, gradient.shape[-1])
        ctx.tape.collector.linear(ctx.layer, inputs.detach().reshape(-1, inputs.shape[-1]), flat)
        below = (flat @ weight).view(inputs.shape) if ctx.needs_input_grad[0] else None
        return below, None, None, None, None


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Any, weight: Any, bias: Any, layer: nn.LayerNorm, tape: Tape) -> Any:
        output, mean, deviation = torch.native_layer_norm(inputs, layer.normalized_shape, weight, bias, layer.eps)
        ctx.save_for_backward(inputs, mean, deviation)
        ctx.layer, ctx.tape = layer, tape
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Any) -> Any:
        inputs, mean, deviation = ctx.saved_tensors
        width = inputs.shape[-1]
        below = ctx.tape.collector.norm(
            ctx.layer,
            inputs.detach().reshape(-1, width),
            gradient.reshape(-1, width).contiguous(),
            [mean.reshape(-1, 1), deviation.reshape(-1, 1)],
        )
        return below.view(inputs.shape), None, None, None, None


class _Embedding(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Any, ids: Any, layer: nn.Embedding, tape: Tape) -> Any:
        ctx.save_for_backward(ids)
        ctx.layer, ctx.tape = layer, tape
        return functional.embedding(ids, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Any) -> Any:
        (ids,) = ctx.saved_tensors
        flat_ids, flat = ids.reshape(-1), gradient.reshape(-1, gradient.shape[-1])
        if ctx.layer.padding_idx is not None:
            flat = flat.masked_fill((flat_ids == ctx.layer.padding_idx).unsqueeze(1), 0.0)
        ctx.tape.collector.embedding(ctx.layer, flat_ids, flat)
        return None, None, None, None
