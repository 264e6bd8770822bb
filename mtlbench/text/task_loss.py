"""Computation of a task's loss, with checks whose messages name the task."""

from __future__ import annotations

import torch

from mtlbench.contract.task import Task
from mtlbench.errors import CellError, UsageError, is_out_of_memory, said, shown


def loss_of(task: Task, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return a task's loss of a batch: a scalar, with a graph where gradients are enabled.

    :param task: the task.
    :param outputs: (B, C) outputs of the task's head.
    :param targets: targets of the same rows.
    :raises CellError: when the task returns anything else, or raises an exception other than mtlbench's own or for
        lack of memory; names the task.
    """
    try:
        loss = task.loss(outputs, targets)
    except (UsageError, CellError):
        raise
    except Exception as error:  # a plugin's task may raise anything
        if is_out_of_memory(error):
            raise
        shapes = f"outputs of shape {tuple(outputs.shape)} and targets of shape {tuple(targets.shape)}"
        raise CellError(f"task {task.key}: loss() raised {said(error)}, on {shapes}", task=task.key) from error
    fault = _fault(loss, outputs)
    if fault is not None:
        raise CellError(
            f"task {task.key}: loss() returned {fault}; return the mean over rows, one real number computed from the "
            "outputs by torch",
            task=task.key,
        )
    return loss


def _fault(loss: object, outputs: torch.Tensor) -> str | None:
    """Return a description of a loss that is not a proper scalar, or ``None`` if it is one."""
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
