"""Trivial floors: what a score must beat before it says that anything was learned."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from mtlbench.metrics import correlations, score_classes
from mtlbench.task import Rows, Splits, Task


class Floor(TypedDict):
    """One trivial predictor and its score on the development rows."""

    name: str
    value: float


def floors(task: Task, splits: Splits) -> dict[str, list[Floor]]:
    """Return metric → floors, measured on the given development rows; what is fitted, is fitted on the training rows.

    - ``majority class``: always the most frequent class.
    - ``all positive``: always class 1 (tasks of two classes).
    - ``token overlap``: on pairs, the Jaccard index J of their lower-cased words: those in both / those in either. For
      two classes, class 1 where J ≥ t, with the threshold t that is best for the metric in question; for real
      labels, J itself.
    - ``constant``: the same number for every row (real labels); its correlation counts 0.

    A metric of a task's own has no floors.
    """
    if task.prediction == "classification":
        found = _classification(task, splits)
    else:
        found = {"constant": {"pearson": 0.0, "spearman": 0.0}}
        if _are_pairs(splits.dev):
            found["token overlap"] = correlations(token_overlap(splits.dev.texts), splits.dev.labels)
    return {
        metric: [Floor(name=name, value=scores[metric]) for name, scores in found.items() if metric in scores]
        for metric in task.metrics
    }


def token_overlap(pairs: Iterable[Sequence[str]]) -> NDArray[np.float64]:
    """Return (N,) Jaccard indices, 0 … 1, of pairs of texts; two texts without words have 0."""
    find_words = re.compile(r"\w+").findall

    def words(text: str) -> set[str]:
        return set(find_words(text.lower()))

    def jaccard(first: set[str], second: set[str]) -> float:
        shared = len(first & second)
        return shared / ((len(first) + len(second) - shared) or 1)

    return np.array([jaccard(words(first), words(second)) for first, second in pairs])


def _classification(task: Task, splits: Splits) -> dict[str, dict[str, float]]:
    train, dev, classes = splits.train, splits.dev, task.outputs

    def scores(predicted: NDArray[Any]) -> dict[str, float]:
        return score_classes(predicted, dev.labels, classes)

    majority = np.bincount(train.labels, minlength=classes).argmax()
    found = {"majority class": scores(np.full(len(dev), majority))}
    if classes == 2:
        found["all positive"] = scores(np.ones(len(dev), dtype=np.int64))
        if _are_pairs(dev):
            overlap = token_overlap(dev.texts)
            thresholds = best_thresholds(token_overlap(train.texts), train.labels)
            found["token overlap"] = {
                metric: scores((overlap >= threshold).astype(np.int64))[metric]
                for metric, threshold in thresholds.items()
            }
    return found


def best_thresholds(feature: NDArray[np.float64], labels: NDArray[Any]) -> dict[str, float]:
    """Return, for accuracy and macro-F1, the t with which "class 1 where feature ≥ t" scores best.

    All N + 1 thresholds in one pass: sorted by falling feature, the rows up to a threshold are the predicted positives.

    :param feature: (N,) real numbers.
    :param labels: (N,) 0 or 1.
    """
    order = np.argsort(-feature, kind="stable")
    candidates = np.concatenate([[np.inf], feature[order]])  # inf: nothing is positive
    hits = np.concatenate([[0], np.cumsum(labels[order])])
    predicted, positive, rows = np.arange(len(hits)), hits[-1], len(labels)
    correct_negatives = rows - positive - (predicted - hits)
    f1_positive = 2 * hits / np.maximum(predicted + positive, 1)
    f1_negative = 2 * correct_negatives / np.maximum(2 * rows - predicted - positive, 1)
    curves = {"accuracy": (hits + correct_negatives) / rows, "macro_f1": (f1_positive + f1_negative) / 2}
    distinct = np.append(candidates[1:] != candidates[:-1], True)  # a threshold takes all rows of equal feature
    return {metric: float(candidates[np.where(distinct, curve, -1.0).argmax()]) for metric, curve in curves.items()}


def _are_pairs(rows: Rows) -> bool:
    return all(len(texts) == 2 for texts in rows.texts)
