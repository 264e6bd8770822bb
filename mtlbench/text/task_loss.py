"""Computation of a task's loss, with checks whose messages name the task."""

from __future__ import annotations

import torch

from mtlbench.contract.task import Task
from mtlbench.errors import CellError, UsageError, is_out_of_memory, said
from mtlbench.problem.loss_fault import loss_fault


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
    fault = loss_fault(loss, outputs)
    if fault is not None:
        raise CellError(
            f"task {task.key}: loss() returned {fault}; return the mean over rows, one real number computed from the "
            "outputs by torch",
            task=task.key,
        )
    return loss
