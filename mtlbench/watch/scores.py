"""Scores of evaluations for a watch, picked from a trainer's metrics by their names."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from mtlbench.errors import UsageError
from mtlbench.watch.watch import Watch


class NamedScores:
    """Metrics of a trainer that are scores of tasks.

    :param watch: takes the scores.
    :param names: task → name of its metric; higher is better.
    :raises UsageError: for a task that the watch does not have.
    """

    def __init__(self, watch: Watch, names: Mapping[str, str] | None) -> None:
        self._watch, self._names = watch, dict(names or {})
        self._missing = set(self._names)
        for task in self._names:
            if task not in watch.tasks:
                raise UsageError(f"scores= names task '{task}'; the watch has {', '.join(watch.tasks)}")

    def take(self, metrics: Mapping[str, Any], step: int) -> None:
        """Pass on those scores that are among the metrics: each of several evaluations may have some of them.

        :param metrics: name → value.
        :param step: optimizer steps done; an evaluation before the first step is left out.
        """
        for task, name in self._names.items():
            if name in metrics and step > 0:
                self._missing.discard(task)
                self._watch.score(task, float(metrics[name]), name, step=step)

    def check(self) -> None:
        """Warn of scores that no evaluation had."""
        for task in sorted(self._missing):
            warnings.warn(f"no evaluation had the metric {self._names[task]} of task {task}", stacklevel=3)
