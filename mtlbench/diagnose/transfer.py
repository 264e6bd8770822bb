"""Scores below trivial floors, or below single-task training of the same length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from math import inf

import numpy as np

from mtlbench.diagnose.evidence import Patient, Run
from mtlbench.diagnose.finding import Finding, Severity, span
from mtlbench.stats import paired_comparison

LOST = 0.05
"""A loss against single-task training is a warning from this share of what single-task training gains over the floor;
a smaller one is a note: tasks that compete for a model lose a little, which is no fault of the set-up."""


def check_transfer(patient: Patient) -> Iterator[Finding]:
    """Compare every task's primary metric with its floors and with single-task training.

    :param patient: the cells of one method.
    """
    if patient.watched:  # it has no floors and no single-task training beside it
        return
    for task, described in patient.tasks.items():
        metric = described["metrics"][0]
        floors = described["floors"].get(metric) or []
        apart = "pairs=apart" in patient.encoder and any(rule["name"] == "token overlap" for rule in floors)
        rule, floor = patient.floor(task) or ("", -inf)
        below = patient.majority(partial(_below, task=task, metric=metric, floor=floor))
        if below:
            yield patient.finding(
                below,
                task,
                code="below-floor",
                severity="error",
                what=f"{task} does worse than a rule without a model",
                evidence=f"{metric} {span(list(below.values()), '.3f')}; {rule} reaches {floor:.3f}",
                cause="the two texts are encoded apart, so no word of one sees a word of the other"
                if apart
                else "it was not learned: too few steps, a learning rate too low, or a head that is read wrongly",
                fix="see this run's other findings",
                sure="likely" if apart else "possible",
            )
        if apart:
            yield patient.finding(
                patient.seeds,
                task,
                code="encoded-apart",
                severity="warning",
                what=f"the two texts of {task} are encoded apart",
                evidence=f"model {patient.encoder}",
                cause="no word of one text sees a word of the other; cross-encoding is worth tens of points here",
                fix="pairs=cross",
                sure="certain",
            )
        yield from _negative(patient, task, metric)


def _below(run: Run, task: str, metric: str, floor: float) -> float | None:
    value = (run.record["scores"].get(task) or {}).get(metric)
    return value if value is not None and value < floor else None


def _negative(patient: Patient, task: str, metric: str) -> Iterator[Finding]:
    for single in sorted(patient.cells.single_task - {patient.method}):
        own, alone = (patient.cells.series(method, task, metric) for method in (patient.method, single))
        seeds = sorted(own.keys() & alone.keys())
        if len(seeds) < 3:
            continue
        comparison = paired_comparison(
            np.array([own[seed] for seed in seeds]), np.array([alone[seed] for seed in seeds])
        )
        if comparison.ci_low is not None and comparison.ci_high is not None and comparison.ci_high < 0:
            severity, size = _severity(patient, task, -comparison.mean_difference, [alone[seed] for seed in seeds])
            yield patient.finding(
                seeds,
                task,
                code="negative-transfer",
                severity=severity,
                what=f"{task} does worse together with the other tasks than alone",
                evidence=f"{metric} {comparison.mean_difference:+.3f} against {single}, 95 % interval "
                f"{comparison.ci_low:+.3f} to {comparison.ci_high:+.3f} over {len(seeds)} paired seeds; {size}",
                cause="the shared part serves the other tasks at this one's cost, or this one has too little weight",
                fix="give it more weight (a sweep of fixed weights), a layer of its own, or leave it out",
                sure="likely",
            )


def _severity(patient: Patient, task: str, lost: float, alone: Sequence[float]) -> tuple[Severity, str]:
    """Return the severity of a loss against single-task training, and a clause on its size.

    Where a task has no floor, 0 counts as one: what a constant answer gets by a correlation or a share of variance, and
    less than any model gets by a share of rows.

    :param patient: the cells of one method.
    :param task: key of the task.
    :param lost: by how much the mean score is below that of single-task training.
    :param alone: scores of single-task training.
    """
    rule, floor = patient.floor(task) or ("a constant answer", 0.0)
    gain = float(np.mean(alone)) - floor
    if gain <= 0.0:  # no scale to judge by; so it is for a metric whose best value is 0, such as a negative error
        return "warning", f"single-task training gains nothing over {rule} ({floor:.3f}), so any loss is a warning"
    severity: Severity = "warning" if lost > LOST * gain else "note"
    return severity, f"{lost / gain:.1%} of what it gains alone over {rule} ({floor:.3f}), a warning above {LOST:.0%}"
