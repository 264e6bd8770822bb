"""Tuning after the fact: which of the trained columns a tuner with a budget of trials would have chosen.

Every column of a setting was trained once, so that a tuner of any budget can be replayed on the scores. The choice
reads development scores alone, the mean over tasks of ln NMSE for everybody; test scores are read once, of the chosen
column. A tuner that draws at random chooses each column with a known probability, so its expected test score is a sum
over columns, exactly, where resampling would only approach it.

A choice is an array (N, Q): for each of N seeds, the probability that column q is the one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy.special import gammaln

from mtlbench.map.cells import Array, Column, StepRule

Search = Literal["coordinate", "random"]
"""How a tuner of fixed weights spends its trials. Coordinate: first every learning rate at equal weights, then weights
at the best one. Random: weights and learning rate of each trial together."""
RULE_METHODS: dict[StepRule, str] = {"plain": "sum", "unit": "unit-step-sum", "log": "log-sum"}
"""Step rule → the catalogue's method that is the equal sum with it."""


def method_of(column: Column) -> str | None:
    """Return the method that a column is a trial of; ``None`` for fixed weights and single tasks."""
    if column.weights is not None or column.single is not None:
        return None
    return RULE_METHODS[column.step_rule] if column.method == "sum" else column.method


def trials_of(columns: Sequence[Column], method: str) -> list[int]:
    """Return the positions of a method's columns: its trials, one for each learning rate.

    :param method: the method's spec.
    """
    return [number for number, column in enumerate(columns) if method_of(column) == method]


def mean_log(errors: Array) -> Array:
    """Return the criterion of every choice, lower is better.

    :param errors: (..., K) NMSE.
    :returns: (...) mean over tasks of ln NMSE.
    """
    return np.asarray(np.log(errors).mean(axis=-1))


def best_of(dev: Array, trials: Sequence[int]) -> Array:
    """Choose the best of some columns.

    :param dev: (N, Q) criterion on development rows.
    :param trials: positions of the columns.
    :returns: (N, Q) the choice.
    """
    return sampled(dev, trials, len(trials))


def sampled(dev: Array, pool: Sequence[int], draws: int) -> Array:
    """Choose the best of some columns that are drawn without replacement from a pool, each set as likely.

    The best draw is the pool's r-th best (from 0) with probability C(n − 1 − r, T − 1) / C(n, T).

    :param dev: (N, Q) criterion on development rows.
    :param pool: positions of n columns.
    :param draws: T, from 1 to n.
    :returns: (N, Q) the choice.
    """
    positions = np.asarray(pool)
    order = positions[np.argsort(dev[:, positions], axis=1, kind="stable")]
    choice = np.zeros_like(dev)
    np.put_along_axis(choice, order, best_rank(len(positions), draws)[None].repeat(len(dev), axis=0), axis=1)
    return choice


def best_rank(size: int, draws: int) -> Array:
    """Return the probabilities that the best of some draws without replacement is the pool's r-th best.

    :param size: n, of the pool.
    :param draws: T, from 1 to n.
    :returns: (n,) probabilities, the pool's best first.
    """
    rest = np.arange(size - 1, -1, -1)  # how many of the pool are worse
    possible = rest >= draws - 1
    rest = np.where(possible, rest, draws - 1)
    logarithms = _log_choose(rest, draws - 1) - _log_choose(np.array(size), draws)
    return np.where(possible, np.exp(logarithms), 0.0)


def _log_choose(n: np.ndarray, k: int) -> Array:
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))


class Pool:
    """The columns of a setting with fixed weights under one step rule: a grid of weightings × learning rates.

    :param columns: all columns of the setting.
    :param rule: the step rule.
    """

    def __init__(self, columns: Sequence[Column], rule: StepRule) -> None:
        self.equal = trials_of(columns, RULE_METHODS[rule])
        weighted = [number for number, column in enumerate(columns) if column.weights and column.step_rule == rule]
        self.all = [*self.equal, *weighted] if weighted else []
        rates = [columns[number].lr for number in self.equal]
        self._at_rate = [[number for number in weighted if columns[number].lr == rate] for rate in rates]

    def budget(self, trials: int, search: Search) -> int:
        """Return how many trials a tuner can spend: no more than there are.

        :param trials: what it may spend.
        """
        most = len(self.all) if search == "random" else len(self.equal) + min(map(len, self._at_rate))
        return min(trials, most)

    def choose(self, dev: Array, trials: int, search: Search) -> Array:
        """Choose as a tuner with a budget does.

        :param dev: (N, Q) criterion on development rows.
        :param trials: T, as :meth:`budget` returns it.
        :returns: (N, Q) the choice.
        """
        if search == "random":
            return sampled(dev, self.all, trials)
        if trials <= len(self.equal):
            return sampled(dev, self.equal, trials)
        choice = np.zeros_like(dev)
        best_rate = np.argmin(dev[:, self.equal], axis=1)
        for seed, rate in enumerate(best_rate):
            choice[seed] = self._at_best_rate(dev[seed], int(rate), trials - len(self.equal))
        return choice

    def _at_best_rate(self, dev: Array, rate: int, draws: int) -> Array:
        """Return the choice of one seed (Q,): the best of drawn weightings, or equal weights where none is better."""
        equal, weighted = self.equal[rate], np.asarray(self._at_rate[rate])
        order = weighted[np.argsort(dev[weighted], kind="stable")]
        probabilities = np.where(dev[order] < dev[equal], best_rank(len(order), draws), 0.0)
        choice = np.zeros_like(dev)
        choice[order] = probabilities
        choice[equal] = 1.0 - probabilities.sum()
        return choice
