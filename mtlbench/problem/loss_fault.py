"""What an author's loss must be: one real number with a graph."""

from __future__ import annotations

import torch

from mtlbench.errors import shown


def loss_fault(loss: object, outputs: torch.Tensor) -> str | None:
    """Return a description of a loss that is not a proper scalar, or ``None`` if it is one.

    :param loss: what the author's code returned.
    :param outputs: the outputs that it was computed from.
    """
    if not isinstance(loss, torch.Tensor):
        return f"{shown(loss)}, not a tensor"
    if loss.ndim:
        return f"a tensor of shape {tuple(loss.shape)}"
    if not loss.is_floating_point():
        return f"a tensor of {loss.dtype}"
    if loss.device != outputs.device:
        return f"a tensor on {loss.device}, where the outputs are on {outputs.device}"
    if outputs.requires_grad and torch.is_grad_enabled() and not loss.requires_grad:
        return "a tensor without a gradient"
    return None
