"""Descriptions of tasks and their rows, as records have them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from mtlbench.contract.task import Splits, Task
from mtlbench.text.floors import floors
from mtlbench.text.row_audit import audit


def describe_tasks(tasks: Iterable[Task], splits: Iterable[Splits]) -> dict[str, Any]:
    """Return each task's rows, source, trivial floors and oddities, by the task's key.

    :param tasks: the tasks of a suite.
    :param splits: their rows, in the same order.
    """
    return {task.key: _describe(task, rows) for task, rows in zip(tasks, splits, strict=True)}


def _describe(task: Task, splits: Splits) -> dict[str, Any]:
    return {
        "spec": task.spec,
        "prediction": task.prediction,
        "metrics": list(task.metrics),
        "train": len(splits.train),
        "dev": len(splits.dev),
        "skipped": {"train": splits.train.skipped, "dev": splits.dev.skipped},
        "source": splits.source,
        "corpus": task.corpus,
        "fingerprint": splits.fingerprint,
        "floors": floors(task, splits),
        "audit": audit(task, splits),
        "test": _describe_test(task, splits),
    }


def _describe_test(task: Task, splits: Splits) -> dict[str, Any] | None:
    """Return the rows and floors of the test split, if there is one."""
    if splits.test is None:
        return None
    return {"rows": len(splits.test), "floors": floors(task, replace(splits, dev=splits.test))}
