"""Gains: a method against a comparator in every cell of a study, paired by seed, and which of them are separable.

A gain is 100 × the mean over seeds of endpoint(method) − endpoint(comparator): negative means that the method is
better. The p values of all cells and all methods of a comparison are one family, adjusted after Benjamini and Hochberg.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mtlbench.errors import UsageError, unknown
from mtlbench.map.cells import Array, Setting
from mtlbench.map.comparators import Comparator
from mtlbench.map.endpoints import ENDPOINTS, Endpoint, evaluate
from mtlbench.map.scores import Scores
from mtlbench.map.selection import RULE_METHODS, best_of
from mtlbench.stats import ALPHA, FEWEST_SEEDS, benjamini_hochberg, interval, without_noise
from mtlbench.stats.base import noise
from mtlbench.stats.student import two_sided_p


@dataclass(frozen=True)
class Gain:
    """A method against a comparator in one cell of a map.

    :param method: spec of the method, or of the comparator in its place, such as ``"fixed[trials=8]"``.
    :param comparator: spec of the comparator, see :class:`mtlbench.map.comparators.Comparator`.
    :param setting: the cell.
    :param endpoint: a name in :data:`mtlbench.map.endpoints.ENDPOINTS`.
    :param mean: 100 × the mean difference over seeds; negative means that the method is better.
    :param low: lower end of its 95 % interval, of this cell alone; ``mean`` with one seed.
    :param high: upper end.
    :param p: two-sided p of the paired t test; 1 with one seed.
    :param adjusted: the same after Benjamini and Hochberg, over the family of the comparison.
    :param separable: whether ``adjusted`` is at most 5 %, with seeds enough for a claim.
    :param seeds: number of pairs.
    :param trials: trials from which the method's learning rate was chosen.
    :param comparator_trials: the same of the comparator.
    """

    method: str
    comparator: str
    setting: Setting
    endpoint: Endpoint
    mean: float
    low: float
    high: float
    p: float
    separable: bool
    seeds: int
    trials: int
    comparator_trials: int
    adjusted: float = 1.0


def gains(
    cells: Sequence[Scores], candidates: Sequence[Comparator], comparator: Comparator, endpoint: Endpoint
) -> list[Gain]:
    """Compare candidates with a comparator in every cell.

    :param cells: the cells of a study.
    :param candidates: methods, or comparators in their place. One that is the comparator itself is left out.
    :param comparator: what they are compared with.
    :param endpoint: the endpoint.
    :returns: one gain for each cell and candidate, cell by cell.
    :raises UsageError: for an unknown endpoint, and for a side, or single tasks for Δm, that was not trained.
    """
    if endpoint not in ENDPOINTS:
        raise unknown("endpoint", endpoint, ENDPOINTS)
    made = [
        _gain(cell, candidate, comparator, endpoint)
        for cell in cells
        for candidate in candidates
        if candidate != comparator
    ]
    adjusted = benjamini_hochberg([gain.p for gain in made])
    return [
        replace(gain, adjusted=p, separable=p <= ALPHA and gain.seeds >= FEWEST_SEEDS)
        for gain, p in zip(made, adjusted, strict=True)
        if p is not None
    ]


def _gain(cell: Scores, candidate: Comparator, comparator: Comparator, endpoint: Endpoint) -> Gain:
    ours, trials = side(cell, candidate, endpoint)
    theirs, comparator_trials = side(cell, comparator, endpoint, trials)
    mean, low, high, p = paired(ours, theirs)
    return Gain(
        method=candidate.spec,
        comparator=comparator.spec,
        setting=cell.setting,
        endpoint=endpoint,
        mean=100.0 * mean,
        low=100.0 * low,
        high=100.0 * high,
        p=p,
        separable=False,
        seeds=len(ours),
        trials=trials,
        comparator_trials=comparator_trials,
    )


def side(cell: Scores, which: Comparator, endpoint: Endpoint, same: int | None = None) -> tuple[Array, int]:
    """Return one side of a comparison in one cell. It is computed once: a page compares every pair of sides.

    :param which: the side.
    :param same: trials of the other side, for fixed weights with as many; ``None``: as many as learning rates.
    :returns: (N,) the endpoint for each seed, in the expectation over what a tuner draws at random; and its trials.
    :raises UsageError: when it was not trained.
    """
    key = which, endpoint, same if which.trials == "same" else None
    if key not in cell.sides:
        cell.sides[key] = _side(cell, which, endpoint, same)
    return cell.sides[key]


def _side(cell: Scores, which: Comparator, endpoint: Endpoint, same: int | None) -> tuple[Array, int]:
    """Return one side, see :func:`side`."""
    if endpoint == "delta-m" and cell.single_task is None:
        raise UsageError("endpoint delta-m needs single tasks, which this study does not train")
    if which.kind == "single-task":
        if cell.single_task is None:
            raise UsageError("this study trains no single tasks to compare with")
        return evaluate(cell.single_task, endpoint, cell.single_task), cell.single_trials
    choice, trials = _chosen(cell, which, same)
    used = choice.any(axis=0)
    values = evaluate(cell.test[:, used], endpoint, cell.single_task)
    return np.asarray((choice[:, used] * values).sum(axis=1)), trials


def _chosen(cell: Scores, which: Comparator, same: int | None) -> tuple[Array, int]:
    """Return the choice (N, Q) of one side, and its trials."""
    if which.kind == "fixed":
        pool = cell.pools.get(which.rule)
        if pool is None:
            raise UsageError(f"this study trains no fixed weights with the step rule {which.rule}")
        asked = {"same": same or len(pool.equal), "all": len(pool.all)}.get(str(which.trials), which.trials)
        search = "random" if which.trials == "all" else which.search
        budget = pool.budget(int(asked), search)
        return pool.choose(cell.criterion, budget, search), budget
    methods = tuple(RULE_METHODS.values()) if which.kind == "step-rules" else (which.method,)
    trials = [number for method in methods for number in cell.trials(method)]
    return best_of(cell.criterion, trials), len(trials)


def paired(ours: Array, theirs: Array) -> tuple[float, float, float, float]:
    """Return mean, ends of the 95 % interval and p of paired differences, as ``paired_comparison`` does.

    That function adds an exact test, a correlation and the detectable effect, and so takes thirty times as long.

    :param ours: (N,) one side.
    :param theirs: (N,) the other side, of the same seeds.
    """
    difference = without_noise(ours, theirs)
    mean, n = float(difference.mean()), len(difference)
    spread = float(difference.std(ddof=1)) if n > 1 else 0.0
    if spread <= noise(ours, theirs):  # the t statistic has no value: the sign-flip test decides
        return mean, mean, mean, 1.0 if mean == 0.0 else 2.0 / 2.0**n
    error = spread / math.sqrt(n)
    low, high = interval(mean, error, n - 1, ALPHA)
    return mean, low, high, two_sided_p(mean / error, n - 1)
