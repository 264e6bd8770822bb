"""Comparison of every method with the baseline, in three families of tests."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mtlbench import stats
from mtlbench.records.groups import Cells
from mtlbench.report.conclude import conclude
from mtlbench.report.result import CONFIDENCE, DeltaM, Difference

Series = Mapping[int, float]
"""One number per seed."""


def compare(
    cells: Cells, baseline: str, methods: Sequence[str], margin: float | None = None
) -> tuple[list[Difference], list[str]]:
    """Compare every other method with the baseline on every metric, and adjust p values within each family.

    The primary metrics of all methods and tasks form one Holm family, the only one to draw conclusions from. The other
    metrics measure the same predictions again; they form a separate family so that they do not reduce its power.

    :param cells: the cells of one group.
    :param baseline: spec of the baseline method.
    :param methods: all methods, in the order of the report.
    :param margin: margin of equivalence, in the scores' unit.
    :returns: the differences, primary metrics first, in the order of tasks and methods; and notes for the reader.
    """
    differences, notes = [], []
    for method in methods:
        if method == baseline:
            continue
        common = cells.common(method, baseline)
        paired = bool(common) and cells.paired(method, baseline, common)
        compared = [
            difference
            for task in cells.tasks
            for metric in task.metrics
            if (difference := _difference(cells, task.name, metric, method, baseline, metric == task.primary, paired))
        ]
        differences += compared
        if compared and not paired:
            notes.append(_unpaired_note(method, baseline, common))
        if not compared:
            notes.append(f"{method} is not compared with {baseline}: no finished cells on both sides")
    order = [(task.name, metric) for task in cells.tasks for metric in task.metrics]
    differences.sort(key=lambda d: (d.family, order.index((d.task, d.metric))))  # stable sort: methods keep their order
    return conclude(differences, margin), notes


def compare_delta_m(
    cells: Cells, baseline: str, methods: Sequence[str], deltas: Mapping[str, Series]
) -> list[Difference]:
    """Compare every joint method's Δm with the baseline's, as one Holm family.

    :param cells: the cells of one group.
    :param baseline: spec of the baseline method.
    :param methods: all methods, in the order of the report.
    :param deltas: Δm in percent by method and seed, as :func:`delta_m` returns it.
    """
    differences = []
    for method in methods:
        series = deltas.get(method, {})
        common = sorted(series.keys() & deltas.get(baseline, {}).keys())
        if method != baseline and common:
            paired = cells.paired(method, baseline, common)
            compared = _compared(series, deltas[baseline], paired)
            differences.append(_named(compared, "all", "delta_m", method, baseline, "delta_m"))
    return conclude(differences, None)


def compare_pairs(cells: Cells, series: Mapping[str, Series]) -> list[Difference]:
    """Compare every two methods on one number per seed, as one Holm family.

    :param cells: the cells of one group.
    :param series: one number per seed by method, over the same seeds. The later method of a pair is the candidate.
    """
    differences = []
    for first, second in itertools.combinations(series, 2):
        paired = cells.paired(second, first, series[first])
        compared = _compared(series[second], series[first], paired)
        differences.append(_named(compared, "all", "ranking", second, first, "pairs"))
    return conclude(differences, None)


def delta_m(cells: Cells) -> tuple[dict[str, Series], list[str]]:
    """Return Δm of every joint method on the seeds that the single-task baseline finished too.

    :param cells: the cells of one group.
    :returns: Δm in percent by method and seed; and notes for the reader where it is undefined.
    """
    single = [method for method in cells.methods if method in cells.single_task]
    if not single:
        return {}, ["no single-task baseline here, so no Δm; add stl to --methods"]
    reference = [cells.series(single[0], task.name, task.primary) for task in cells.tasks]
    deltas: dict[str, Series] = {}
    for method in cells.methods:
        if method in cells.single_task:
            continue
        scores = [cells.series(method, task.name, task.primary) for task in cells.tasks]
        seeds = sorted(set.intersection(*(set(series) for series in (*reference, *scores))))
        if not seeds:
            continue
        values = stats.delta_m(_columns(scores, seeds), _columns(reference, seeds))
        if values is None:
            return {}, ["a task's single-task score is zero, so Δm, which divides by it, is undefined"]
        deltas[method] = dict(zip(seeds, values.tolist(), strict=True))
    return deltas, []


def delta_m_summary(method: str, series: Series) -> DeltaM:
    """Summarize Δm over seeds. The interval is paired: Δmₛ is relative to the single-task scores of its seed.

    :param method: spec of the method.
    :param series: Δm in percent by seed.
    """
    values = np.array(list(series.values()))
    against_zero = stats.paired_comparison(values, np.zeros_like(values), CONFIDENCE)
    return DeltaM(
        method=method,
        n=len(values),
        mean=against_zero.mean_difference,
        std=float(values.std(ddof=1)) if len(values) > 1 else None,
        ci_low=against_zero.ci_low,
        ci_high=against_zero.ci_high,
    )


def _difference(
    cells: Cells, task: str, metric: str, method: str, baseline: str, primary: bool, paired: bool
) -> Difference | None:
    """Compare two methods on one endpoint; ``None`` when a side has no score."""
    ours, theirs = cells.series(method, task, metric), cells.series(baseline, task, metric)
    if not ours or not theirs or (paired and not ours.keys() & theirs.keys()):
        return None
    family = "primary" if primary else "secondary"
    return _named(_compared(ours, theirs, paired), task, metric, method, baseline, family)


def _compared(ours: Series, theirs: Series, paired: bool) -> dict[str, Any]:
    """Compare on the common seeds if paired, otherwise on all seeds of both sides; return fields by name."""
    if not paired:
        unpaired = stats.unpaired_comparison(np.array(list(ours.values())), np.array(list(theirs.values())), CONFIDENCE)
        return vars(unpaired)
    seeds = sorted(ours.keys() & theirs.keys())
    a, b = np.array([ours[seed] for seed in seeds]), np.array([theirs[seed] for seed in seeds])
    rate = stats.win_rate(stats.without_noise(a, b), CONFIDENCE)
    return {
        **vars(stats.paired_comparison(a, b, CONFIDENCE)),
        "wins": rate.wins,
        "losses": rate.losses,
        "ties": rate.ties,
        "win_rate": rate.rate,
        "win_rate_low": rate.low,
        "win_rate_high": rate.high,
        "probability_of_improvement": rate.probability_of_improvement,
    }


def _named(compared: dict[str, Any], task: str, metric: str, method: str, baseline: str, family: str) -> Difference:
    """Return the comparison together with what was compared."""
    return Difference(
        task=task, metric=metric, method=method, baseline=baseline, family=family, p_adjusted=None, **compared
    )


def _columns(series: list[Series], seeds: list[int]) -> stats.Vector:
    """Return the scores as a (seeds, tasks) array."""
    return np.array([[scores[seed] for scores in series] for seed in seeds])


def _unpaired_note(method: str, baseline: str, common: list[int]) -> str:
    """Return the note on why a comparison is not paired."""
    reason = "their pairing hashes differ" if common else "they share no seed"
    return f"{method} and {baseline} are not paired ({reason}): Welch's t test, which knows no pairs and no exact p"
