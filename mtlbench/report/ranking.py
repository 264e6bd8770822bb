"""Ranks of the joint methods: over every seed of every task, and in one number per seed with Friedman's test."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mtlbench import stats
from mtlbench.records.groups import Cells
from mtlbench.report.compare import compare_pairs
from mtlbench.report.result import Difference, MeanRank, Ranking


def mean_ranks(cells: Cells) -> tuple[tuple[MeanRank, ...], list[str]]:
    """Rank the joint methods on the seeds that all of them finished: a rank among fewer rivals is another number."""
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


def ranking(
    cells: Cells, deltas: Mapping[str, Mapping[int, float]]
) -> tuple[tuple[Ranking, ...], tuple[Difference, ...]]:
    """Rank the joint methods by one number per seed: Δm where it exists for all, else the mean over the tasks.

    The blocks of Friedman's test are the seeds. Tasks are no sample, and the tasks of one seed are not independent.

    :return: the ranking, and every pair of methods compared on the same numbers, one Holm family; nothing where fewer
        than three methods share two seeds.
    """
    methods, seeds, scores = _scores(cells)
    if not seeds:
        return (), ()
    by_seed, score = scores.mean(axis=1), "mean of the tasks' primary metrics"
    if all(set(seeds) <= deltas.get(method, {}).keys() for method in methods):
        by_seed, score = np.array([[deltas[method][seed] for seed in seeds] for method in methods]), "Δm"
    found = stats.friedman(by_seed)
    if found is None:
        return (), ()
    series = {m: dict(zip(seeds, row.tolist(), strict=True)) for m, row in zip(methods, by_seed, strict=True)}
    ranked = (
        Ranking(
            score=score,
            methods=tuple(methods),
            seeds=len(seeds),
            mean_ranks=found.mean_ranks,
            chi_squared=found.chi_squared,
            f=found.f,
            p=found.p,
            exact=found.exact,
            resolution=found.resolution,
            critical_difference=stats.critical_difference(found.methods, found.blocks),
        ),
    )
    return ranked, tuple(compare_pairs(cells, series))


def _scores(cells: Cells) -> tuple[list[str], list[int], stats.Vector]:
    """Return the joint methods that finished anything, the seeds that all finished, and (methods, tasks, seeds)."""
    methods = [m for m in cells.methods if m in cells.done_of and m not in cells.single_task]
    series = {(m, task.name): cells.series(m, task.name, task.primary) for m in methods for task in cells.tasks}
    seeds = sorted(set.intersection(*(set(one) for one in series.values()))) if series else []
    scores = [[[series[m, task.name][seed] for seed in seeds] for task in cells.tasks] for m in methods]
    return methods, seeds, np.array(scores)
