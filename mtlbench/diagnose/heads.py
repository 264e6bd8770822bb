"""Heads that are dead, saturated or read wrongly: faults in the raw outputs on the development rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

import numpy as np
from scipy.stats import rankdata

from mtlbench.diagnose.evidence import Outputs, Patient, Run
from mtlbench.diagnose.finding import Finding, span
from mtlbench.records.outputs import Numbers

SIDES = (0.1, 0.9)
"""Bounds on the share of positive answers of a two-class head."""
REFITTED = 0.05
"""A better threshold counts if it gains more accuracy than this, and more than four standard errors."""
RANKS = 0.6
"""Outputs rank the rows above this area under the ROC curve, and the wrong way round below 1 minus it."""
DEAD = 0.05
"""A head gives the same answer for every row if its standardised scores or logits spread less than this."""
FEWEST = 20
"""Minimum number of rows for a finding."""

T = TypeVar("T")


def check_heads(patient: Patient) -> Iterator[Finding]:
    """Check the head of every task.

    :param patient: the cells of one method.
    """
    for task, described in patient.tasks.items():
        dead = patient.majority(partial(_apply, task=task, test=_dead))
        if dead:
            yield patient.finding(
                dead,
                task,
                code="dead-head",
                severity="error",
                what=f"the head of {task} says the same of every row",
                evidence=f"spread of its outputs {span(list(dead.values()))}; less than {DEAD:g}",
                cause="it was hardly trained, saw constant features, or its gradient is cut off",
                fix="look at this task's loss and gradient norm; train longer or at a higher learning rate",
                sure="possible",
            )
            continue
        if described["prediction"] != "classification":
            continue
        yield from _two_classes(patient, task)
        yield from _classes(patient, task)


def _two_classes(patient: Patient, task: str) -> Iterator[Finding]:
    turned = patient.majority(partial(_apply, task=task, test=_reversed))
    if turned:
        yield patient.finding(
            turned,
            task,
            code="reversed-head",
            severity="error",
            what=f"the head of {task} ranks the rows the wrong way round",
            evidence=f"area under the ROC curve {span(list(turned.values()), '.3f')}; at least {1 - RANKS:g}",
            cause="the labels of training and development rows mean opposite things, or training labels are not those "
            "of their rows",
            fix="look at the labels of both splits",
            sure="likely",
        )
        return
    sides = patient.majority(partial(_apply, task=task, test=_one_sided))
    shifted = patient.majority(partial(_apply, task=task, test=_threshold))
    if not sides and not shifted:
        return
    cases = sides or shifted
    gains = [gain for _, _, gain, _ in cases.values()]
    areas = [area for *_, area in cases.values()]
    learned = min(areas) > RANKS
    yield patient.finding(
        cases,
        task,
        code="one-sided-head" if sides else "shifted-threshold",
        severity="error",
        what=f"the head of {task} answers {'nearly always the same' if sides else 'at a wrong threshold'}",
        evidence=(
            f"positive answers {span([share for share, *_ in cases.values()], '.1%')}, positive labels "
            f"{span([labels for _, labels, *_ in cases.values()], '.1%')} (bounds {SIDES[0]:.0%} and {SIDES[1]:.0%}); "
            f"another threshold gains {span(gains, '.3f')} accuracy; area under the ROC curve {span(areas, '.3f')}"
        ),
        cause=(
            "the outputs rank the rows well but are read at the wrong point: a sigmoid applied twice, a raw cosine "
            "taken as a logit, or a bias that was not trained"
            if learned
            else "the outputs hardly rank the rows: the task was not learned"
        ),
        fix="take argmax of raw logits, trained with cross entropy" if learned else "see this task's other findings",
        sure="likely" if learned else "possible",
    )


def _classes(patient: Patient, task: str) -> Iterator[Finding]:
    cases = patient.majority(partial(_apply, task=task, test=_missing))
    if cases:
        counts, known = [few for few, _ in cases.values()], next(iter(cases.values()))[1]
        yield patient.finding(
            cases,
            task,
            code="missing-classes",
            severity="warning",
            what=f"the head of {task} uses {span(counts, 'd')} of {known} classes",
            evidence=f"classes answered for at least 1 % of the rows: {span(counts, 'd')}; at least half of {known}",
            cause="trained too little for a task of this many classes, or on features that do not tell them apart",
            fix="more steps or a higher learning rate; check that the shared part is trained",
            sure="likely",
        )


def _apply(run: Run, task: str, test: Callable[[Outputs], T | None]) -> T | None:
    outputs = run.outputs.get(task)
    return None if outputs is None or len(outputs.labels) < FEWEST else test(outputs)


def is_dead(run: Run, task: str) -> bool:
    """Return whether the head of a task gives the same answer for every row.

    :param run: the cell.
    :param task: key of the task.
    """
    return _apply(run, task, _dead) is not None


def _dead(outputs: Outputs) -> float | None:
    """Return the spread of scores (targets are standardised) or logits (1 is a factor e of the odds) if it is small."""
    classes = outputs.values.shape[1] > 1 and outputs.labels.ndim == 1  # logits of classes are defined up to a constant
    values = outputs.values - (outputs.values.mean(axis=1, keepdims=True) if classes else 0.0)
    spread = float((values.std(axis=0) / outputs.unit).max())
    return spread if spread < DEAD else None


def _read(outputs: Outputs) -> tuple[float, float, float, float] | None:
    """Return the shares of positive answers and labels, the best threshold's gain, and the area under the ROC curve."""
    if outputs.values.shape[1] != 2 or not 0 < outputs.labels.mean() < 1:
        return None
    margin, labels = outputs.values[:, 1] - outputs.values[:, 0], outputs.labels
    answers = margin > 0
    positives = labels.sum()
    ranks = rankdata(margin)
    area = (ranks[labels == 1].sum() - positives * (positives + 1) / 2) / (positives * (len(labels) - positives))
    order = np.argsort(margin, kind="stable")
    right = _right_by_threshold(labels[order])
    gain = float(right.max() - (answers == labels).sum()) / len(labels)
    return float(answers.mean()), float(labels.mean()), gain, float(area)


def _right_by_threshold(labels: Numbers) -> Numbers:
    """Return the number of right answers if the first 0 … N rows are answered no and the others yes."""
    right: Numbers = np.concatenate([[0.0], np.cumsum(1.0 - labels)]) + labels.sum()
    right[1:] -= np.cumsum(labels)
    return right


def _one_sided(outputs: Outputs) -> tuple[float, float, float, float] | None:
    read = _read(outputs)
    low, high = SIDES
    return read if read is not None and not low <= read[0] <= high and low <= read[1] <= high else None


def _threshold(outputs: Outputs) -> tuple[float, float, float, float] | None:
    read = _read(outputs)
    error = 0.5 / np.sqrt(len(outputs.labels))
    return read if read is not None and read[2] > max(REFITTED, 4 * error) and read[3] > RANKS else None


def _reversed(outputs: Outputs) -> float | None:
    read = _read(outputs)
    return read[3] if read is not None and read[3] < 1 - RANKS else None


def _missing(outputs: Outputs) -> tuple[int, int] | None:
    classes = outputs.values.shape[1]
    counts = np.bincount(outputs.values.argmax(axis=1), minlength=classes)
    used = int((counts >= 0.01 * len(outputs.labels)).sum())
    known = int((np.bincount(outputs.labels.astype(int), minlength=classes) >= 0.03 * len(outputs.labels)).sum())
    return (used, classes) if classes > 2 and 2 * used < known else None
