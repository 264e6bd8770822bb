"""The design of a map: which settings and which columns each study has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from scipy.stats import qmc

from mtlbench.map.cells import Column, Optimizer, Setting, StepRule
from mtlbench.map.selection import RULE_METHODS
from mtlbench.seeds import generator

RATES: dict[Optimizer, tuple[float, ...]] = {
    "adam": (0.003, 0.01, 0.03, 0.1),
    "sgd": (0.01, 0.04, 0.15, 0.5, 1.5),
    "momentum": (0.003, 0.01, 0.03, 0.1, 0.3),
}
"""The learning rates that every method, pool and single task tries: its trials."""
DECADES = 1.5
"""Two tasks' weights are (10^u, 10^−u) with |u| up to this: ratios up to 1000."""
BOX = 1.0
"""More tasks' weights are each within this many decades of 1."""
MORE_WEIGHTINGS = 18
"""How many weightings of more tasks a pool has besides equal weights."""


@dataclass(frozen=True)
class Plan:
    """A study before it is trained.

    :param name: of its file.
    :param title: for headings.
    :param knobs: the fields of a setting that differ between its cells, the horizontal one of its figure first.
    :param settings: its cells.
    :param methods: specs of the methods; ``unit-step-sum`` and ``log-sum`` are the sum with a step rule.
    :param pools: the step rules with a pool of fixed weights.
    :param line: how many weightings of two tasks a pool has besides equal weights.
    :param single_tasks: whether single tasks are trained.
    """

    name: str
    title: str
    knobs: tuple[str, ...]
    settings: tuple[Setting, ...]
    methods: tuple[str, ...]
    pools: tuple[StepRule, ...] = ()
    line: int = 12
    single_tasks: bool = False

    def columns(self, setting: Setting) -> tuple[Column, ...]:
        """Return what is trained in a cell; it depends on the cell's optimizer and number of tasks alone.

        :param setting: one of the settings.
        """
        return self._columns[setting.tasks, setting.optimizer]

    @cached_property
    def _columns(self) -> dict[tuple[int, Optimizer], tuple[Column, ...]]:
        kinds = {(setting.tasks, setting.optimizer) for setting in self.settings}
        return {kind: tuple(self._columns_of(*kind)) for kind in kinds}

    def _columns_of(self, tasks: int, optimizer: Optimizer) -> Iterable[Column]:
        rates = RATES[optimizer]
        rules = {method: rule for rule, method in RULE_METHODS.items()}
        for method, rate in product(self.methods, rates):
            rule = rules.get(method)
            yield Column("sum", rate, step_rule=rule) if rule else Column(method, rate)
        for rule in self.pools:
            for weights, rate in product(weightings(tasks, self.line if tasks == 2 else MORE_WEIGHTINGS), rates):
                yield Column("sum", rate, weights=weights, step_rule=rule)
        if self.single_tasks:
            for task, rate in product(range(tasks), rates):
                yield Column("sum", rate, single=task)


def weightings(tasks: int, count: int) -> list[tuple[float, ...]]:
    """Return fixed weights of a pool, without equal ones, each with the sum K.

    Two tasks: a line of ratios, evenly spaced on a logarithmic scale, half of them on either side of 1. More: points
    of a Halton sequence, each weight within a decade of 1.

    >>> from mtlbench.map.design import weightings
    >>> [f"{first / second:.4g}" for first, second in weightings(2, 6)]
    ['0.001', '0.01', '0.1', '10', '100', '1000']

    :param tasks: K.
    :param count: how many; even for two tasks.
    """
    if tasks == 2:
        ends = np.linspace(-DECADES, DECADES, count + 1)
        exponents = np.stack([ends, -ends], axis=1)[ends != 0.0]
    else:
        sequence = qmc.Halton(tasks, rng=generator("map", "weightings", tasks))
        exponents = BOX * (2.0 * sequence.random(count) - 1.0)
    weights = 10.0**exponents
    weights *= tasks / weights.sum(axis=1, keepdims=True)
    return [tuple(row) for row in weights.tolist()]


def grid(base: Setting, **knobs: Sequence[Any]) -> tuple[Setting, ...]:
    """Return all combinations of some knobs' values, the first knob changing fastest.

    :param base: the setting with everything else.
    :param knobs: field of the setting → its values.
    """
    names = list(reversed(knobs))
    combinations = product(*(knobs[name] for name in names))
    return tuple(replace(base, **dict(zip(names, values, strict=True))) for values in combinations)
