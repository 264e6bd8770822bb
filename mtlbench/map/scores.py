"""Scores of one setting: all its seeds and columns, as they were trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from mtlbench.errors import unknown
from mtlbench.map.cells import Array, Column, Features, Setting, StepRule
from mtlbench.map.selection import RULE_METHODS, Pool, mean_log, method_of, trials_of


@dataclass(frozen=True)
class Scores:
    """Scores of one setting.

    :param setting: the setting.
    :param columns: Q columns.
    :param seeds: N seeds.
    :param dev: (N, Q, K) NMSE on development rows; NaN where a column trains another task alone.
    :param test: (N, Q, K) the same on test rows.
    :param features: what the plain sum showed early, with one setting; ``None`` if it was not trained.
    """

    setting: Setting
    columns: Sequence[Column]
    seeds: Sequence[int]
    dev: Array
    test: Array
    features: Features | None = None
    sides: dict[Any, tuple[Array, int]] = field(default_factory=dict, init=False, compare=False, repr=False)
    """Sides of comparisons that were computed before; :mod:`mtlbench.map.gains` fills it."""

    @cached_property
    def criterion(self) -> Array:
        """(N, Q) what every choice minimises: the mean over tasks of ln NMSE on development rows."""
        return mean_log(self.dev)

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """Specs of the methods that were trained, in the order of their columns."""
        return tuple(dict.fromkeys(method for method in map(method_of, self.columns) if method is not None))

    @cached_property
    def pools(self) -> dict[StepRule, Pool]:
        """Step rule → the columns with fixed weights under it, for those that have some."""
        pools = {rule: Pool(self.columns, rule) for rule in RULE_METHODS}
        return {rule: pool for rule, pool in pools.items() if pool.all}

    def trials(self, method: str) -> list[int]:
        """Return the positions of a method's columns.

        :param method: the method's spec.
        :raises UsageError: when it was not trained.
        """
        trials = trials_of(self.columns, method)
        if not trials:
            raise unknown("method of this map", method, self.methods)
        return trials

    @cached_property
    def single_task(self) -> Array | None:
        """(N, K) test NMSE of single tasks, each with its own best learning rate; ``None`` if they were not trained."""
        tasks = range(self.setting.tasks)
        if not all(self._alone(task) for task in tasks):
            return None
        return np.stack([self._best_alone(task) for task in tasks], axis=1)

    @property
    def single_trials(self) -> int:
        """Networks trained for single tasks: learning rates × tasks."""
        return sum(len(self._alone(task)) for task in range(self.setting.tasks))

    def _alone(self, task: int) -> list[int]:
        return [number for number, column in enumerate(self.columns) if column.single == task]

    def _best_alone(self, task: int) -> Array:
        columns = np.asarray(self._alone(task))
        best = columns[np.argmin(self.dev[:, columns, task], axis=1)]
        return np.asarray(self.test[np.arange(len(best)), best, task])
