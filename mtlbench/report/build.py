"""Build a report from records: a pure function, so a report can be built wherever the records were copied to."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from mtlbench import stats
from mtlbench.errors import UsageError, unknown
from mtlbench.records.group_names import distinctions, headings, names
from mtlbench.records.groups import Cells, Record, collect
from mtlbench.report.compare import compare, compare_delta_m, delta_m, delta_m_summary
from mtlbench.report.examples import Examples, example_intervals
from mtlbench.report.headline import headline
from mtlbench.report.names import MANY
from mtlbench.report.origins import cautions, superseded
from mtlbench.report.ranking import best_first, mean_ranks, ranking
from mtlbench.report.result import Cost, Failed, GroupReport, Missing, Report, Score, ScoredTask
from mtlbench.report.split import on_test
from mtlbench.report.watched import watched_group


def build(
    records: Sequence[Record],
    damaged: Iterable[tuple[str, str]] = (),
    baseline: str = "sum",
    margin: float | None = None,
    examples: Examples | None = None,
    split: str = "dev",
) -> Report:
    """Build the report.

    :param records: the content of every readable ``record.json``, in any order.
    :param damaged: path and reason of every unreadable record.
    :param baseline: the method that the others are compared with: its spec, or its bare name if only one method
        has this name.
    :param margin: the difference, in the scores' unit, below which methods count as alike, declared before the scores
        are seen; without a margin the report never claims that there is no difference.
    :param examples: returns a record's scores by development row, for intervals over seeds and rows at once.
    :param split: ``dev``, or ``test`` to report on the test split and leave out records without one.
    :returns: the report; it does not depend on the order of the records.
    :raises UsageError: when there are no records; when several methods have records and no group has the baseline (a
        single method needs no baseline: the report then says that there is nothing to compare); when the margin is not
        positive; when the test split is requested and no record has one.
    """
    damaged = tuple((str(path), str(reason)) for path, reason in damaged)
    if not records:
        unreadable = f" ({len(damaged)} damaged, the first: {damaged[0][0]}: {damaged[0][1]})" if damaged else ""
        raise UsageError(f"no records to report on{unreadable}; make some first with: mtlbench run")
    if margin is not None and not 0 < margin < math.inf:
        raise UsageError(f"a margin of equivalence must be positive, not {margin}")
    groups = collect(on_test(records) if split == "test" else records)
    methods = {method for cells in groups if not cells.watched for method in cells.methods}
    if len(methods) > 1 and all(cells.find(baseline) is None for cells in groups):
        raise unknown("baseline", baseline, methods)
    group_reports = (
        replace(
            watched_group(cells) if cells.watched else _group(cells, baseline, margin, examples),
            heading=heading,
            name=name,
            differs=differs,
        )
        for cells, heading, name, differs in zip(
            groups, headings(groups), names(groups), distinctions(groups), strict=True
        )
    )
    return Report(baseline=baseline, groups=tuple(group_reports), damaged=damaged)


def _group(cells: Cells, requested_baseline: str, margin: float | None, examples: Examples | None) -> GroupReport:
    """Build the report of one group of cells, still without its names."""
    baseline = cells.find(requested_baseline)
    deltas, delta_notes = delta_m(cells)
    ranks, rank_notes = mean_ranks(cells)
    methods = best_first(cells, baseline, ranks, deltas)
    scores = [_score(cells, method, task, metric) for method in methods for task, metric in _endpoints(cells)]
    differences, notes = compare(cells, baseline, methods, margin) if baseline else ([], [])
    notes = _not_compared(cells, requested_baseline) or notes
    crossed, crossed_notes = example_intervals(cells, baseline, examples) if baseline and examples else ((), [])
    caution_notes = cautions(cells)
    ranked, pairs = ranking(cells, deltas)
    group = GroupReport(
        group=cells.group,
        suite=cells.suite,
        encoder=str(cells.encoder.get("name") or cells.encoder.get("spec") or "none"),
        recipe=cells.recipe,
        tasks=cells.tasks,
        methods=tuple(methods),
        seeds=cells.seeds,
        baseline=baseline,
        problem=cells.problem,
        split=cells.split,
        scores=tuple(scores),
        costs=tuple(_cost(cells, method) for method in methods),
        delta_m=tuple(delta_m_summary(method, deltas[method]) for method in methods if method in deltas),
        mean_ranks=ranks,
        comparisons=tuple(differences),
        delta_m_comparisons=tuple(compare_delta_m(cells, baseline, methods, deltas) if baseline else ()),
        missing=_missing(cells, methods),
        failed=tuple(Failed(m, seed, _message(cells.failed[m, seed])) for m, seed in sorted(cells.failed)),
        notes=(
            *notes,
            *delta_notes,
            *rank_notes,
            *_collapsed(scores),
            *_cut(cells),
            *crossed_notes,
            *superseded(cells),
            *caution_notes,
        ),
        cautions=tuple(caution_notes),
        rankings=ranked,
        pairs=pairs,
        example_intervals=crossed,
    )
    return replace(group, headline=headline(group))


def _not_compared(cells: Cells, requested_baseline: str) -> list[str]:
    """Return the note on why no methods are compared, if none are."""
    if len(cells.methods) == 1:
        return [f"only one method, {cells.methods[0]}: there is nothing to compare it with"]
    if cells.find(requested_baseline) is None:
        return [f"{requested_baseline} has no cells here, so nothing is compared"]
    return []


def _missing(cells: Cells, methods: Sequence[str]) -> tuple[Missing, ...]:
    """Return the cells that neither finished nor failed."""
    return tuple(
        Missing(method, seed)
        for method in methods
        for seed in cells.seeds
        if (method, seed) not in cells.done and (method, seed) not in cells.failed
    )


def _endpoints(cells: Cells) -> list[tuple[ScoredTask, str]]:
    """Return every task with each of its metrics."""
    return [(task, metric) for task in cells.tasks for metric in task.metrics]


def _score(cells: Cells, method: str, task: ScoredTask, metric: str) -> Score:
    """Summarize one method on one metric."""
    values = list(cells.series(method, task.name, metric).values())
    mean = statistics.fmean(values) if values else None
    floor = task.floor(metric)
    return Score(
        method=method,
        task=task.name,
        metric=metric,
        primary=metric == task.primary,
        n=len(values),
        seeds=len(cells.seeds),
        mean=mean,
        std=float(np.std(values, ddof=1)) if len(values) > 1 else None,
        floor=floor.value if floor else None,
        floor_name=floor.name if floor else None,
        below_floor=_not_above(mean, floor.value) if floor and mean is not None else False,
        seeds_below_floor=sum(_not_above(value, floor.value) for value in values) if floor else 0,
        tuned_corpus=task.tuned_corpus,
        interquartile_mean=stats.interquartile_mean(np.array(values)) if values else None,
    )


def _not_above(value: float, floor: float) -> bool:
    """Return whether a score is not above its floor. A model that always predicts the majority class lies on it."""
    return value <= floor + stats.NOISE


def _cost(cells: Cells, method: str) -> Cost:
    """Summarize a method's cost: median time, since a seed may have shared its cores, and the highest memory peak."""
    done = list(cells.done_of.get(method, {}).values())
    seconds = _present(record["cost"].get("seconds_per_step") for record in done)
    memory = _present(record["cost"].get("peak_memory_bytes") for record in done)
    conflict = _present((record.get("conflict") or {}).get("share") for record in done)
    return Cost(
        method=method,
        n=len(done),
        seconds_per_step=statistics.median(seconds) if seconds else None,
        peak_memory_bytes=int(max(memory)) if memory else None,
        conflict_share=statistics.fmean(conflict) if conflict else None,
    )


def _present(values: Iterable[float | None]) -> list[float]:
    """Return the values that are finite numbers."""
    return [float(value) for value in values if value is not None and np.isfinite(value)]


def _message(record: Record) -> str:
    """Return the error message of a failed cell, on one line and without control characters."""
    error: Mapping[str, object] = record.get("error") or {}
    words = " ".join(str(error.get("message") or error.get("type") or "no message").split())
    return "".join(letter for letter in words if letter.isprintable())


def _collapsed(scores: Iterable[Score]) -> list[str]:
    """Report seeds that are not above their floor although the mean over seeds is; of many methods, in one note."""
    by_endpoint: dict[str, list[Score]] = {}
    for s in scores:
        if s.primary and s.seeds_below_floor and not s.below_floor:
            by_endpoint.setdefault(f"{s.task} {s.metric} ({s.floor_name})", []).append(s)
    notes = []
    for floor, found in by_endpoint.items():
        seeds = [f"{s.method}: {s.seeds_below_floor} of {s.n} seeds" for s in found]
        if len(found) > MANY:
            notes.append(f"seeds not above the floor of {floor}: {'; '.join(seeds)}")
        else:
            notes += [f"{words} not above the floor of {floor}" for words in seeds]
    return notes


def _cut(cells: Cells) -> list[str]:
    """Report how many texts of each task were truncated; records of earlier versions lack these counts."""
    notes = []
    for task in cells.tasks:
        counted = [record for record in cells.records if task.name in (record.get("cut") or {})]
        if not counted:
            continue
        cut, rows = counted[0]["cut"][task.name], counted[0]["tasks"][task.name]
        shares = [
            f"{cut[split]} of {rows[split]} {name} texts"
            for split, name in (("train", "training"), ("dev", "development"))
            if cut.get(split)
        ]
        if shares:
            were = f"were longer than {cut['tokens']} tokens and were cut"
            notes.append(f"{' and '.join(shares)} of {task.name} {were}")
    return notes
