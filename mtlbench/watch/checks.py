"""Check what a user gives to a watch: each error is one line that names the task."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch

from mtlbench.errors import UsageError, shown
from mtlbench.host.safe_names import is_key

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")
"""Names of runs, which become names of files and folders."""


def checked_tasks(tasks: Any) -> list[str]:
    """Return the names of the tasks.

    :raises UsageError: when they are not a list of different names.
    """
    if isinstance(tasks, str) or not isinstance(tasks, Sequence) or not tasks:
        raise UsageError(f"tasks must be a list of names, one for each loss, not {shown(tasks)}")
    for task in tasks:
        if not is_key(task):
            raise UsageError(f"a task's name must be letters, digits, '_', '.' or '-', not {shown(task)}")
    repeated = sorted({task for task in tasks if list(tasks).count(task) > 1})
    if repeated:
        raise UsageError(f"task {repeated[0]} is named twice; each loss needs a name of its own")
    return list(tasks)


def checked_every(every: Any) -> int:
    """Return the steps from one look to the next.

    :raises UsageError: when it is not a whole number from 1 on.
    """
    if not isinstance(every, int) or isinstance(every, bool) or every < 1:
        raise UsageError(f"every must be a whole number of steps, at least 1, not {shown(every)}")
    return every


def checked_name(name: Any) -> str:
    """Return the name of a run.

    :raises UsageError: when it cannot be the name of a file.
    """
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise UsageError(f"name must be at most 80 letters, digits, '_', '.' or '-', not {shown(name)}")
    return name


def checked_score(value: Any, task: str) -> float:
    """Return a score as a number.

    :raises UsageError: when it is none.
    """
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):  # of a tensor with several numbers
        raise UsageError(f"the score of task {task} must be a number, not {shown(value)}") from None


def present_losses(losses: Any, tasks: Sequence[str]) -> dict[str, torch.Tensor]:
    """Return task → loss of the tasks that have one in this batch.

    :param losses: K losses, ``None`` where a task has none.
    :param tasks: the K tasks.
    :raises UsageError: when there are not K, or one is not a scalar with a graph.
    """
    if isinstance(losses, torch.Tensor) or not isinstance(losses, Sequence) or len(losses) != len(tasks):
        count = f"{len(losses)} losses" if isinstance(losses, list | tuple) else f"a {type(losses).__name__}"
        raise UsageError(f"watch needs a list of {len(tasks)} losses ({', '.join(tasks)}), got {count}")
    present = {task: loss for task, loss in zip(tasks, losses, strict=True) if loss is not None}
    for task, loss in present.items():
        if not isinstance(loss, torch.Tensor) or not loss.requires_grad:
            raise UsageError(f"the loss of task {task} has no graph: give the tensor itself, before backward()")
        if loss.numel() != 1:
            raise UsageError(f"the loss of task {task} is not reduced, its shape is {tuple(loss.shape)}: give its mean")
    return present
