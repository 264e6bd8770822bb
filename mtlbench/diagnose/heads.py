"""Heads that are dead, saturated or read wrongly: told from the raw outputs on the development rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

import numpy as np
from scipy.stats import rankdata

from mtlbench.diagnose.evidence import Numbers, Outputs, Patient, Run
from mtlbench.diagnose.finding import Finding, span

SIDES = (0.1, 0.9)
"""Shares of positive answers of a two-class head between which nothing is said."""
REFITTED = 0.05
"""Accuracy that another threshold may gain before it is told of; and four standard errors at least."""
RANKS = 0.6
"""Area under the ROC curve from which outputs rank the rows; below 1 minus it they do so the wrong way round."""
DEAD = 0.05
"""Spread of standardised scores or of logits, below which a head says the same of every row."""
FEWEST = 20
"""Rows below which nothing is said."""

T = TypeVar("T")


def check_heads(patient: Patient) -> Iterator[Finding]:
    """Look at every task's head."""
    for task, described in patient.tasks.items():
        dead = patient.most(partial(_of, task=task, look=_dead))
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
    turned = patient.most(partial(_of, task=task, look=_reversed))
    if turned:
        yield patient.finding(
            turned,
            task,
            code="reversed-head",
            severity="error",
            what=f"the head of {task} ranks the rows the wrong way round",
            evidence=f"area under the ROC curve {span(list(turned.values()), '.3f')}; at least {1 - RANKS:g}",
            cause="the labels of training and development rows mean opposite things, or training labels are not those "
            "of their texts",
            fix="look at the labels of both files",
            sure="likely",
        )
        return
    sides = patient.most(partial(_of, task=task, look=_one_sided))
    shifted = patient.most(partial(_of, task=task, look=_threshold))
    if not sides and not shifted:
        return
    found = sides or shifted
    gains = [gain for _, _, gain, _ in found.values()]
    areas = [area for *_, area in found.values()]
    learned = min(areas) > RANKS
    yield patient.finding(
        found,
        task,
        code="one-sided-head" if sides else "shifted-threshold",
        severity="error",
        what=f"the head of {task} answers {'nearly always the same' if sides else 'at a wrong threshold'}",
        evidence=(
            f"positive answers {span([share for share, *_ in found.values()], '.1%')}, positive labels "
            f"{span([labels for _, labels, *_ in found.values()], '.1%')} (bounds {SIDES[0]:.0%} and {SIDES[1]:.0%}); "
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
    found = patient.most(partial(_of, task=task, look=_missing))
    if found:
        counts, known = [few for few, _ in found.values()], next(iter(found.values()))[1]
        yield patient.finding(
            found,
            task,
            code="missing-classes",
            severity="warning",
            what=f"the head of {task} uses {span(counts, 'd')} of {known} classes",
            evidence=f"classes answered for at least 1 % of the rows: {span(counts, 'd')}; at least half of {known}",
            cause="trained too little for a task of this many classes, or on features that do not tell them apart",
            fix="more steps or a higher learning rate; check that the encoder is trained",
            sure="likely",
        )


def _of(run: Run, task: str, look: Callable[[Outputs], T | None]) -> T | None:
    outputs = run.outputs.get(task)
    return None if outputs is None or len(outputs.labels) < FEWEST else look(outputs)


def is_dead(run: Run, task: str) -> bool:
    """Whether a task's head says the same of every row."""
    return _of(run, task, _dead) is not None


def _dead(outputs: Outputs) -> float | None:
    """Return the spread of scores (targets are standardised) or of logits (1 is a factor e of the odds), if small."""
    classes = outputs.values.shape[1] > 1 and outputs.labels.ndim == 1  # whose logits have no zero point of their own
    values = outputs.values - (outputs.values.mean(axis=1, keepdims=True) if classes else 0.0)
    spread = float(values.std(axis=0).max())
    return spread if spread < DEAD else None


def _read(outputs: Outputs) -> tuple[float, float, float, float] | None:
    """Return shares of positive answers and labels, what the best threshold gains, and the area under the ROC curve."""
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
    """Return how many answers are right where the first 0 … N rows in order are answered no, and the others yes."""
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
