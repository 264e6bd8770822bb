"""A batch's loss, as a task computes it: checked here, where the task is known."""

from __future__ import annotations

import torch

from mtlbench.contract.task import Task
from mtlbench.errors import CellError, UsageError, is_out_of_memory, said, shown


def loss_of(task: Task, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return a task's loss of a batch, a scalar with a graph wherever gradients are taken.

    :param outputs: (B, outputs) of the head.
    :param targets: of the same rows.
    :raises CellError: naming the task, when it is anything else, or when the task raises what is not our own.
    """
    try:
        loss = task.loss(outputs, targets)
    except (UsageError, CellError):
        raise
    except Exception as error:  # a task may fail in any way at all
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
    if not isinstance(loss, torch.Tensor):
        return f"{shown(loss)}, no tensor"
    if loss.ndim:
        return f"a tensor of shape {tuple(loss.shape)}"
    if not loss.is_floating_point():
        return f"a tensor of {loss.dtype}"
    if loss.device != outputs.device:
        return f"a tensor on {loss.device}, where the outputs are on {outputs.device}"
    if outputs.requires_grad and torch.is_grad_enabled() and not loss.requires_grad:
        return "a tensor without a gradient"
    return None
