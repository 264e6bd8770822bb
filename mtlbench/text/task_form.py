"""Validation of a task: its declarations, its rows, and what its targets, loss and metrics return for them.

A task may be a plugin. It is checked once, when its rows are loaded, so that a fault is reported in one line that names
the task before the first cell starts.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtlbench.contract.task import DEFAULT_METRICS, Splits, Task
from mtlbench.errors import CellError, UsageError, said, shown
from mtlbench.host.safe_names import is_key
from mtlbench.problem.metrics import METRICS, answers, metrics_of, value_of
from mtlbench.text.row_form import checked_splits
from mtlbench.text.task_loss import loss_of


def checked_key(task: Task) -> str:
    """Return a task's key.

    :raises UsageError: when the key has characters that tables and records cannot hold.
    """
    key = _declared(task, "key")
    if not is_key(key):
        raise UsageError(f"task {task.name}: key is {shown(key)}; it may hold letters, digits, '.', '_' and '-'")
    return str(key)


def load_splits(task: Task, data_dir: Path | None) -> Splits:
    """Load a task's rows, and check their form and the task's declarations.

    :param task: the task.
    :param data_dir: the folder given with ``--data-dir``.
    :raises UsageError: for a fault, naming task, split, row and remedy; and for any exception that ``load`` raises.
    """
    try:
        splits = task.load(data_dir)
    except (UsageError, MemoryError):
        raise
    except (Exception, SystemExit) as error:  # a plugin may raise anything
        raise UsageError(f"task {task.key}: load() raised {said(error)}") from error
    _check_declared(task)
    return checked_splits(task, splits)


def check_training(task: Task, splits: Splits, batch_size: int, device: str) -> None:
    """Check that there is something to learn, and try targets, metrics and loss on a few rows.

    The losses of mtlbench's own tasks are not tried, so torch is not imported for them.

    :param task: the task.
    :param splits: the rows that cells train on.
    :param batch_size: number of rows to try the loss on.
    :param device: the cells' device; the loss itself is tried on the CPU.
    :raises UsageError: for a fault, naming the task and the remedy.
    """
    labels = splits.train.labels
    if bool((labels == labels[0]).all()):
        raise UsageError(
            f"task {task.key}: all training labels are equal, {shown(labels[0].tolist())}; there is nothing to learn"
        )
    with np.errstate(all="ignore"):
        if task.prediction == "regression" and not np.isfinite(labels.std()):
            raise UsageError(f"task {task.key}: its training labels are too large to be standardised; divide them")
        targets = _targets(task, splits)
    outputs = np.zeros((len(splits.dev), task.outputs), dtype=np.float32)
    for name, function in metrics_of(task).items():
        if not function.__module__.startswith("mtlbench."):
            answered = answers(task.prediction, outputs)
            value_of(task, name, function, answered, splits.dev.labels, task.outputs, UsageError)
    if not type(task).__module__.startswith("mtlbench."):
        _try_loss(task, targets[:batch_size], device)


def _declared(task: Task, name: str) -> Any:
    """Return an attribute that a task must declare."""
    try:
        return getattr(task, name)
    except UsageError:
        raise
    except NotImplementedError:
        raise UsageError(f"task {task.name}: declare its {name}") from None
    except Exception as error:
        raise UsageError(f"task {task.name}: its {name} raised {said(error)}") from error


def _check_declared(task: Task) -> None:
    where = f"task {task.key}"
    prediction, outputs = _declared(task, "prediction"), _declared(task, "outputs")
    if not isinstance(prediction, str) or prediction not in DEFAULT_METRICS:
        raise UsageError(f"{where}: prediction is {shown(prediction)}; declare {' or '.join(DEFAULT_METRICS)}")
    if isinstance(outputs, bool) or not isinstance(outputs, int | np.integer) or outputs < 1:
        raise UsageError(f"{where}: outputs is {shown(outputs)}; declare the head's size, a whole number from 1 on")
    if prediction == "regression" and outputs != 1:
        raise UsageError(f"{where}: outputs is {outputs}; a regression has 1")
    metrics = _declared(task, "metrics")
    if not isinstance(metrics, tuple | list) or not metrics or not all(isinstance(name, str) for name in metrics):
        known = ", ".join(METRICS[task.prediction])
        raise UsageError(f"{where}: metrics is {shown(metrics)}; declare a tuple of one or more of: {known}")
    if len(set(metrics)) < len(metrics):
        raise UsageError(f"{where}: metrics is {shown(metrics)}; name each once")
    metrics_of(task)
    if prediction == "regression" and "r2" in metrics:
        raise UsageError(
            f"{where}: r2 compares numbers in the labels' unit, but the outputs of a task on texts are standardised; "
            "use pearson or spearman"
        )
    if not isinstance(_declared(task, "corpus"), str):
        raise UsageError(f"{where}: corpus is {shown(task.corpus)}; declare a name, or nothing")


def _targets(task: Task, splits: Splits) -> NDArray[Any]:
    try:
        targets: Any = task.targets(splits, splits.train.labels)
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"task {task.key}: targets() raised {said(error)}") from error
    remedy = f"return an array of numpy with {len(splits.train)} rows, one for each label"
    if not isinstance(targets, np.ndarray):
        raise UsageError(f"task {task.key}: targets() returned an object of type {type(targets).__name__}; {remedy}")
    if targets.dtype.kind not in "biuf" or targets.dtype.itemsize > 8 or not targets.dtype.isnative:
        raise UsageError(f"task {task.key}: targets() returned {targets.dtype}; return float32 or int64")
    if targets.shape[:1] != (len(splits.train),):
        raise UsageError(f"task {task.key}: targets() returned the shape {targets.shape}; {remedy}")
    finite = np.isfinite(targets).reshape(len(targets), -1).all(axis=1)
    if not finite.all():
        raise UsageError(f"task {task.key}: targets() is not finite for training row {int(finite.argmin())}")
    return targets


def _try_loss(task: Task, targets: NDArray[Any], device: str) -> None:
    """Call a plugin's loss as a training step does, on synthetic outputs."""
    import torch

    leaf = torch.linspace(-1.0, 1.0, len(targets) * task.outputs).reshape(len(targets), task.outputs).requires_grad_()
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.filterwarnings("error", message="Using a target size")  # or torch would broadcast to (B, B)
        try:
            loss_of(task, leaf * 1.0, torch.from_numpy(targets))
        except CellError as error:
            if device == "cpu" or error.__cause__ is None:  # else the CPU may be the cause
                raise UsageError(str(error)) from error
