"""What runs of the plain sum show of their tasks, as far as recommendations depend on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, log
from typing import Any, Literal

import numpy as np

from mtlbench.diagnose.evidence import Patient, Run
from mtlbench.diagnose.map_evidence import Thresholds
from mtlbench.records.left_out import is_left_out

Optimizer = Literal["adamw", "sgd"]

START, FIRST = 0.02, 5
"""Losses at the start are those of this share of the steps, and of at least so many: a task that is learned early has
a small loss on any scale."""
EARLY, LOOKS = 0.1, 3
"""Gradient norms early in training are those of this share of the measured steps, and of at least so many."""
TENTH = 30
"""Fewest steps of a run whose course is judged: a tenth of fewer is noise."""


@dataclass(frozen=True)
class Measured:
    """Measurements of a run of the plain sum. A mapping is empty where it was not measured.

    :param losses: task → loss at the start, in units of an untrained head's: ln(classes) nats of a classification, the
        loss's own unit for numbers.
    :param norms: task → norm of its gradient over all shared parameters, early in training.
    :param cosines: ``"a|b"`` → median cosine of two task gradients over training.
    :param noise: task → ‖g − ḡ‖² / ‖ḡ‖² of a batch's gradient g with the mean ḡ over batches. Histories lack it: it
        takes the gradients of two independent batches, whose inner product estimates ‖ḡ‖².
    :param remaining: task → training loss in the last tenth of the steps, as a share of that at the start.
    :param falling: task → share by which the training loss fell from the tenth in the middle to the last one.
    :param optimizer: ``None`` where it is not known.
    """

    losses: Mapping[str, float]
    norms: Mapping[str, float]
    cosines: Mapping[str, float]
    noise: Mapping[str, float]
    remaining: Mapping[str, float]
    falling: Mapping[str, float]
    optimizer: Optimizer | None

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks of which anything was measured."""
        return tuple(self.losses or self.norms)


def measured(patient: Patient) -> Measured:
    """Return the medians over the runs of one method.

    :param patient: the runs, of the plain sum.
    """
    runs = [run for run in patient.runs if not is_left_out(run.record, "history") and run.steps]
    course = [_course(run) for run in runs if not run.unfinished]
    return Measured(
        losses=_medians(_start(run, patient) for run in runs),
        norms=_medians(_norms(run) for run in runs),
        cosines=_medians(_cosines(run) for run in runs),
        noise={},
        remaining=_medians(remaining for remaining, _ in course),
        falling=_medians(falling for _, falling in course),
        optimizer=None if patient.watched else "adamw",  # that of every cell: training/optimizer.py
    )


def _medians(by_run: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return the median over runs of every name that all runs have."""
    values = list(by_run)
    names = [name for name in (values[0] if values else ()) if all(name in value for value in values)]
    return {name: float(np.median([value[name] for value in values])) for name in names}


def _complete(values: Mapping[str, float], tasks: Iterable[str]) -> dict[str, float]:
    """Return the values if every task has a positive one, else nothing: ratios need all of them."""
    return {task: values[task] for task in tasks} if all(values.get(task, 0.0) > 0.0 for task in tasks) else {}


def _start(run: Run, patient: Patient) -> dict[str, float]:
    """Return the losses at the start; nothing where their kind, and so their unit, is unknown, as in a watched run."""
    if patient.watched:
        return {}
    start = {}
    for task, described in patient.tasks.items():
        losses = run.losses(task)
        losses = losses[: max(FIRST, ceil(START * len(losses)))]
        if len(losses):
            start[task] = float(np.median(losses)) / _untrained(run, task, described["prediction"])
    return _complete(start, patient.tasks)


def _untrained(run: Run, task: str, prediction: str) -> float:
    """Return the loss of a head that has learned nothing: ln(classes), or 1 for numbers or without predictions."""
    if prediction == "multilabel":
        return log(2)
    if prediction == "classification" and task in run.outputs:
        return log(max(2, run.outputs[task].values.shape[1]))
    return 1.0


def _norms(run: Run) -> dict[str, float]:
    rows = run.measured("norms")
    rows = rows[: max(LOOKS, ceil(EARLY * len(rows)))]
    norms: dict[str, list[float]] = {}
    for row in rows:
        for task, norm in row["norms"].items():
            if norm is not None and np.isfinite(norm):
                norms.setdefault(task, []).append(norm)
    return _complete({task: float(np.median(values)) for task, values in norms.items()}, run.record["tasks"])


def _cosines(run: Run) -> dict[str, float]:
    cosines: dict[str, list[float]] = {}
    for row in run.measured("cosines"):
        for pair, value in row["cosines"].items():
            if value is not None and np.isfinite(value):
                cosines.setdefault(pair, []).append(value)
    return {pair: float(np.median(values)) for pair, values in cosines.items()}


def _course(run: Run) -> tuple[dict[str, float], dict[str, float]]:
    """Return every task's remaining share of its training loss, and by what share the loss still fell."""
    remaining, falling = {}, {}
    for task in run.record["tasks"]:
        losses = run.losses(task)
        if len(losses) < TENTH:
            continue
        tenth = len(losses) // 10
        start, middle, end = (_mean(losses, place, tenth) for place in (0, 5, 9))
        if start > 0.0 and middle > 0.0:
            remaining[task], falling[task] = end / start, 1.0 - end / middle
    return remaining, falling


def _mean(losses: Any, place: int, tenth: int) -> float:
    return float(np.mean(losses[place * tenth : (place + 1) * tenth]))


def ends(values: Mapping[str, float]) -> tuple[str, str, float]:
    """Return the task with the smallest value, the one with the largest, and the ratio of the two.

    :param values: task → positive number, at least one.
    """
    small, large = min(values, key=lambda task: values[task]), max(values, key=lambda task: values[task])
    return small, large, values[large] / values[small]


def tasks_of(pair: str, tasks: Sequence[str]) -> tuple[str, ...]:
    """Return the two tasks of a cosine's name.

    :param pair: such as ``"a|b"``.
    :param tasks: keys of all tasks.
    """
    return tuple(task for task in tasks if task in pair.split("|"))


def describe(found: Measured, bounds: Thresholds) -> str:
    """Return the measurements as one clause after the other, each with its threshold.

    :param found: what was measured.
    :param bounds: the thresholds.
    """
    clauses = [
        _compare("losses at the start", found.losses, bounds.ratio),
        _compare("early gradient norms", found.norms, bounds.ratio),
        _compare("noise to signal", found.noise, bounds.noise),
    ]
    if found.cosines:
        pair = min(found.cosines, key=lambda name: found.cosines[name])
        first, second = pair.split("|")
        clauses.append(
            f"lowest median cosine {found.cosines[pair]:.2f} ({first} and {second}), opposed below {bounds.cosine:g}"
        )
    if found.remaining:
        task = max(found.remaining, key=lambda name: found.remaining[name])
        clauses.append(
            f"largest share of a training loss left at the end {found.remaining[task]:.0%} ({task}), high from "
            f"{bounds.remaining:.0%}; it fell by {found.falling[task]:.0%} in the second half, halted below "
            f"{bounds.falling:.0%}"
        )
    clauses.append(f"optimizer {'not known' if found.optimizer is None else found.optimizer}")
    return "; ".join(clauses)


def _compare(what: str, values: Mapping[str, float], bound: float) -> str:
    if not values:
        return f"{what} not measured"
    small, large, ratio = ends(values)
    return f"{what} {values[small]:.2g} ({small}) to {values[large]:.2g} ({large}), ratio {ratio:.2g}, bound {bound:g}"
