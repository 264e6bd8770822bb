"""Training that diverged, stopped too early or went on too long for a task: faults in its losses and scores."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import log, sqrt

import numpy as np
from scipy.special import log_softmax

from mtlbench.diagnose.evidence import Patient, Run, standard_error
from mtlbench.diagnose.finding import Finding, span
from mtlbench.diagnose.heads import is_dead
from mtlbench.records.outputs import Numbers

WORSE = 1.05
"""A training loss has diverged if it is more than this many times as high at the end as at the beginning."""
FALL = 0.02
"""A task counts as learned if its training loss fell by at least this share."""
BY_HEART = 5.0
"""Epochs from which a gap between training and development loss means that the rows were memorized: a loss with class
weights has such a gap from the start."""
SKEW = 0.25
"""Share of development rows whose answers would have to change to give each class as often as it occurs. Above it, this
mismatch explains outputs worse than a guess, so memorized training rows are not the cause."""
ERRORS = 3.0
"""A change of a score counts from this many standard errors on."""


def check_fit(patient: Patient) -> Iterator[Finding]:
    """Check for each task whether training diverged, learned nothing, overfitted or stopped too early.

    :param patient: the cells of one method.
    """
    scored = () if patient.watched else (_overfit, _underfit)  # they need the number of rows
    for task in patient.tasks:
        for check in (_diverged, _not_learned, *scored):
            finding = check(patient, task)
            if finding is not None:  # the first finding excludes the others
                yield finding
                break


def _diverged(patient: Patient, task: str) -> Finding | None:
    cases = patient.majority(partial(_grown, task=task))
    if not cases:
        return None
    return patient.finding(
        cases,
        task,
        code="diverged",
        severity="error",
        what=f"the training loss of {task} is higher at the end than at the beginning",
        evidence=f"last tenth ÷ first tenth of the steps: {span(list(cases.values()), '.2f')}; at most {WORSE:g}",
        cause="the learning rate is too high, the task's gradient has the wrong sign, or the method works against it",
        fix="divide the learning rate by 3; compare with the plain sum at the same rate; look at the task's loss()",
        sure="likely",
    )


def _grown(run: Run, task: str) -> float | None:
    first, last = _ends(run, task)
    if len(first) < 3 or first.mean() <= 0.0:
        return None
    ratio = float(last.mean() / first.mean())
    return ratio if ratio > WORSE + 2 * _noise(first, last) / float(first.mean()) else None


def _not_learned(patient: Patient, task: str) -> Finding | None:
    cases = patient.majority(partial(_flat, task=task))
    if not cases:
        return None
    return patient.finding(
        cases,
        task,
        code="not-learned",
        severity="error",
        what=f"{task} was not learned: its training loss did not fall",
        evidence=(
            f"from the first to the last tenth of the steps it fell by {span(list(cases.values()), '.1%')}; at least "
            f"{FALL:.0%} expected"
        ),
        cause="labels that do not belong to their rows (shuffled, or columns out of step), a gradient that is cut "
        "off, too low a learning rate or weight, or too few steps",
        fix="train this task alone on a few rows: if these cannot be learned by heart, look at loss() and labels",
        sure="possible",
    )


def _flat(run: Run, task: str) -> float | None:
    first, last = _ends(run, task)
    if run.unfinished or len(first) < 3 or first.mean() <= 0.0:
        return None
    fall = 1.0 - float(last.mean() / first.mean())
    return fall if fall < FALL else None


def _ends(run: Run, task: str) -> tuple[Numbers, Numbers]:
    """Return a task's training losses in the first and the last tenth of the steps."""
    losses = run.losses(task)
    tenth = len(losses) // 10
    return losses[:tenth], losses[len(losses) - tenth :]


def _noise(first: Numbers, last: Numbers) -> float:
    """Return the standard error of the difference of two means."""
    return sqrt((float(first.var(ddof=1)) + float(last.var(ddof=1))) / len(first))


def _overfit(patient: Patient, task: str) -> Finding | None:
    return _gap(patient, task) or _drop(patient, task)


def _gap(patient: Patient, task: str) -> Finding | None:
    if patient.tasks[task]["prediction"] != "classification":
        return None
    cases = patient.majority(partial(_apart, task=task))
    if not cases or patient.epochs(task) < BY_HEART:
        return None
    losses, errors, bounds = zip(*cases.values(), strict=True)
    return patient.finding(
        cases,
        task,
        code="overfit",
        severity="warning",
        what=f"{task} was learned by heart: its outputs on development rows are worse than a guess",
        evidence=(
            f"training loss {span(losses, '.3f')}, below half of ln(classes); cross entropy of the outputs on "
            f"development rows {span(errors, '.3f')}, above ln(classes) = {span(bounds, '.3f')}; training rows seen "
            f"{patient.epochs(task):.1f} times, at least {BY_HEART:g}"
        ),
        cause="the task's rows were seen too often for their number, or are unlike the development rows",
        fix="fewer steps, sampling=sqrt or annealed if tasks with batches of their own differ in size; look at how the "
        "rows were split",
        sure="likely",
    )


def _apart(run: Run, task: str) -> tuple[float, float, float] | None:
    """Return training loss, cross entropy on development rows and ln(classes) if they are far apart."""
    outputs, (_, last) = run.outputs.get(task), _ends(run, task)
    if outputs is None or not len(last):
        return None
    classes = outputs.labels.astype(int)
    error = float(-log_softmax(outputs.values, axis=1)[np.arange(len(classes)), classes].mean())
    loss, guess = float(last.mean()), log(outputs.values.shape[1])
    answered, expected = (
        np.bincount(column, minlength=outputs.values.shape[1]) for column in (outputs.values.argmax(1), classes)
    )
    skewed = np.abs(answered - expected).sum() / 2 > SKEW * len(classes)
    return (loss, error, guess) if loss < guess / 2 and error > guess and not skewed else None


def _drop(patient: Patient, task: str) -> Finding | None:
    metric = patient.tasks[task]["metrics"][0]
    error = standard_error(metric, patient.tasks[task]["dev"])
    cases = patient.majority(partial(_dropped, task=task, metric=metric, error=error))
    if not cases:
        return None
    return patient.finding(
        cases,
        task,
        code="overfit",
        severity="warning",
        what=f"{task} was better before: its {metric} fell while its training loss went on falling",
        evidence=(
            f"best minus last evaluation: {span(list(cases.values()), '.3f')}, more than three standard errors of the "
            f"development rows ({ERRORS * error:.3f}); training rows seen {patient.epochs(task):.1f} times"
        ),
        cause="the task's rows were seen too often for their number",
        fix="fewer steps, sampling=sqrt or annealed if tasks with batches of their own differ in size, or a lower "
        "learning rate",
        sure="likely",
    )


def _dropped(run: Run, task: str, metric: str, error: float) -> float | None:
    scores, losses = run.scores(task, metric), run.losses(task)
    if len(scores) < 3 or len(losses) < 20 or is_dead(run, task):  # a dead head scores by chance
        return None
    quarter = len(losses) // 4
    falls = losses[-quarter:].mean() < losses[quarter : 2 * quarter].mean()
    drop = max(scores) - scores[-1]
    return drop if drop > ERRORS * error and falls else None


def _underfit(patient: Patient, task: str) -> Finding | None:
    metric = patient.tasks[task]["metrics"][0]
    error = standard_error(metric, patient.tasks[task]["dev"])
    cases = patient.majority(partial(_rising, task=task, metric=metric, error=error))
    if not cases:
        return None
    return patient.finding(
        cases,
        task,
        code="underfit",
        severity="warning",
        what=f"{task} was still getting better when training ended",
        evidence=(
            f"its {metric} rose by {span(list(cases.values()), '.3f')} from the last evaluation but one to the last, "
            f"more than three standard errors ({ERRORS * error:.3f})"
        ),
        cause="too few steps",
        fix="train longer; methods compared so early differ by how fast they start",
        sure="likely",
    )


def _rising(run: Run, task: str, metric: str, error: float) -> float | None:
    scores = run.scores(task, metric)
    if run.unfinished or len(scores) < 2:
        return None
    return scores[-1] - scores[-2] if scores[-1] - scores[-2] > ERRORS * error else None
