"""Intervals over seeds and development rows at once, where the caller supplies scores by row."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict

import numpy as np

from mtlbench import stats
from mtlbench.records.groups import Cells, Record
from mtlbench.records.left_out import left_out
from mtlbench.report.result import ExampleInterval, ScoredTask

Examples = Callable[[Record], Mapping[str, stats.Vector]]
"""Function from a finished record to every task's scores by development row, in the same order in all records.

Their mean must be the primary metric: 1 for a right answer and 0 for a wrong one give accuracy. The function leaves out
tasks whose metric is not such a mean."""

AGREEMENT = 1e-6
"""Largest allowed difference between the mean over rows and the recorded score."""


def example_intervals(cells: Cells, baseline: str, examples: Examples) -> tuple[tuple[ExampleInterval, ...], list[str]]:
    """Return the crossed interval of every paired primary difference that has scores by row.

    :param cells: the cells of one group.
    :param baseline: spec of the baseline method.
    :param examples: returns a record's scores by development row.
    :returns: the intervals, and notes for the reader.
    """
    by_cell = {cell: examples(record) for cell, record in cells.done.items()}
    lacking = left_out(cells.done.values(), ["predictions"])
    if not any(by_cell.values()):
        why = lacking or "no record here has scores by development row"
        return (), [f"{why}, so no interval over rows"]
    intervals, notes = [], [f"{lacking}: no interval over rows for their methods"] if lacking else []
    for method in cells.methods:
        seeds = cells.common(method, baseline)
        if method == baseline or not seeds or not cells.paired(method, baseline, seeds):
            continue
        for task in cells.tasks:
            rows = [[by_cell[name, seed].get(task.name) for name in (method, baseline)] for seed in seeds]
            pairs = [(a, b) for a, b in rows if a is not None and b is not None]
            if len(pairs) < len(seeds):
                continue
            if not _agree(cells, task, seeds, method, baseline, pairs):
                notes.append(
                    f"{method}: the scores by row of {task.name} do not average to its {task.primary}; not used"
                )
                continue
            crossed = stats.crossed_interval(np.array([a - b for a, b in pairs]))
            if crossed:
                intervals.append(
                    ExampleInterval(
                        task=task.name, metric=task.primary, method=method, baseline=baseline, **asdict(crossed)
                    )
                )
    return tuple(intervals), notes


def _agree(
    cells: Cells,
    task: ScoredTask,
    seeds: list[int],
    method: str,
    baseline: str,
    pairs: list[tuple[stats.Vector, stats.Vector]],
) -> bool:
    """Return whether all sides have equally many rows, and these average to the recorded scores."""
    if len({len(side) for pair in pairs for side in pair}) > 1:
        return False
    return all(
        math.isclose(
            float(side.mean()), cells.series(name, task.name, task.primary).get(seed, math.inf), abs_tol=AGREEMENT
        )
        for seed, pair in zip(seeds, pairs, strict=True)
        for name, side in zip((method, baseline), pair, strict=True)
    )
