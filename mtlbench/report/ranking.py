"""Ranks of the joint methods: over every seed of every task, and by one number per seed with Friedman's test."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from mtlbench import stats
from mtlbench.records.groups import Cells
from mtlbench.report.compare import compare_pairs
from mtlbench.report.result import Difference, MeanRank, Ranking


def mean_ranks(cells: Cells) -> tuple[tuple[MeanRank, ...], list[str]]:
    """Rank the joint methods on the seeds that all of them finished, since ranks depend on the number of methods.

    :param cells: the cells of one group.
    :returns: the mean ranks, and notes for the reader.
    """
    methods, seeds, scores = _scores(cells)
    if len(methods) < 2:
        return (), []
    if not seeds:
        return (), ["no seed was finished by every method, so no mean rank"]
    ranks = stats.mean_ranks(scores.reshape(len(methods), -1))
    notes = []
    if len(seeds) < len(cells.seeds):
        notes = [f"ranks are over {len(seeds)} of {len(cells.seeds)} seeds, those that every joint method finished"]
    return tuple(MeanRank(m, float(r), len(seeds), len(methods)) for m, r in zip(methods, ranks, strict=True)), notes


def best_first(
    cells: Cells, baseline: str | None, ranks: Sequence[MeanRank], deltas: Mapping[str, Mapping[int, float]]
) -> list[str]:
    """Return all methods in the order of tables and figures.

    Single-task training and the baseline come first, as what the others are compared with. The others follow from best
    to worst: by mean rank, or by mean Δm where a method has no rank; those without either come last, by name.

    :param cells: the cells of one group.
    :param baseline: spec of the baseline method, if the group has it.
    :param ranks: the mean ranks.
    :param deltas: Δm in percent by method and seed.
    """
    rank_of = {rank.method: rank.mean_rank for rank in ranks}

    def place(method: str) -> tuple[bool, bool, float, float, str]:
        series = deltas.get(method, {}).values()
        delta = statistics.fmean(series) if series else -math.inf
        return method not in cells.single_task, method != baseline, rank_of.get(method, math.inf), -delta, method

    return sorted(cells.methods, key=place)


def ranking(
    cells: Cells, deltas: Mapping[str, Mapping[int, float]]
) -> tuple[tuple[Ranking, ...], tuple[Difference, ...]]:
    """Rank the joint methods by one number per seed: Δm if all methods have it, otherwise the mean over the tasks.

    The blocks of Friedman's test are the seeds: tasks are not a sample, and tasks of one seed are not independent.

    :param cells: the cells of one group.
    :param deltas: Δm in percent by method and seed.
    :returns: the ranking, and every pair of methods compared on the same numbers, as one Holm family; both empty where
        fewer than three methods share two seeds.
    """
    methods, seeds, scores = _scores(cells)
    if not seeds:
        return (), ()
    by_seed, score = scores.mean(axis=1), "mean of the tasks' primary metrics"
    if all(set(seeds) <= deltas.get(method, {}).keys() for method in methods):
        by_seed, score = np.array([[deltas[method][seed] for seed in seeds] for method in methods]), "Δm"
    friedman = stats.friedman(by_seed)
    if friedman is None:
        return (), ()
    series = {m: dict(zip(seeds, row.tolist(), strict=True)) for m, row in zip(methods, by_seed, strict=True)}
    ranked = (
        Ranking(
            score=score,
            methods=tuple(methods),
            seeds=len(seeds),
            mean_ranks=friedman.mean_ranks,
            chi_squared=friedman.chi_squared,
            f=friedman.f,
            p=friedman.p,
            exact=friedman.exact,
            resolution=friedman.resolution,
            critical_difference=stats.critical_difference(friedman.methods, friedman.blocks),
        ),
    )
    return ranked, tuple(compare_pairs(cells, series))


def _scores(cells: Cells) -> tuple[list[str], list[int], stats.Vector]:
    """Return joint methods with finished cells, the seeds that all finished, and (methods, tasks, seeds) scores."""
    methods = [m for m in cells.methods if m in cells.done_of and m not in cells.single_task]
    series = {(m, task.name): cells.series(m, task.name, task.primary) for m in methods for task in cells.tasks}
    seeds = sorted(set.intersection(*(set(scores) for scores in series.values()))) if series else []
    scores = [[[series[m, task.name][seed] for seed in seeds] for task in cells.tasks] for m in methods]
    return methods, seeds, np.array(scores)
