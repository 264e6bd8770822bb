"""Trivial floors: scores of predictors that ignore the text or only count words; a trained model should beat them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from mtlbench.contract.task import Rows, Splits, Task
from mtlbench.errors import UsageError
from mtlbench.problem.metrics import metrics_of, value_of

Values = NDArray[Any]


class TrivialScore(TypedDict):
    """One trivial predictor and its score on the development rows."""

    name: str
    value: float


def floors(task: Task, splits: Splits) -> dict[str, list[TrivialScore]]:
    """Return metric → floors, fitted on the training rows and measured on the development rows.

    - ``majority class``: always the most frequent class.
    - ``all positive``: always class 1 (tasks of two classes), or all labels (multi-label tasks).
    - ``token overlap``: for pairs, the Jaccard index J of their lower-cased words: words in both / words in either.
      With two classes, class 1 where J ≥ t, with the threshold t that is best for the metric; with real labels, J.
    - ``constant``: the same number for every row (real labels); its correlation counts 0.
    - ``majority labels``: always the most frequent set of labels.
    - ``frequent labels``: always the k most frequent labels, with the k that is best for micro-F1.

    A plugin's metric has only the floors without a threshold.

    :param task: the task.
    :param splits: its rows.
    :raises UsageError: when a plugin's metric raises or does not return one finite number; names task and metric.
    """
    metrics = metrics_of(task)
    predict = {"classification": _classes, "regression": _scores, "multilabel": _labels}[task.prediction]
    predictions = predict(task, splits)
    return {
        name: [
            TrivialScore(
                name=floor,
                value=value_of(task, name, function, answers[name], splits.dev.labels, task.outputs, UsageError),
            )
            for floor, answers in predictions.items()
            if name in answers
        ]
        for name, function in metrics.items()
    }


def _same(task: Task, answers: Values) -> dict[str, Values]:
    """Return metric → answers, for a predictor that does not depend on the metric."""
    return dict.fromkeys(task.metrics, answers)


def _classes(task: Task, splits: Splits) -> dict[str, dict[str, Values]]:
    train, dev = splits.train, splits.dev
    majority = np.bincount(train.labels, minlength=task.outputs).argmax()
    predictions = {"majority class": _same(task, np.full(len(dev), majority))}
    if task.outputs == 2:
        predictions["all positive"] = _same(task, np.ones(len(dev), dtype=np.int64))
        if _are_pairs(dev):
            overlap = token_overlap(dev.texts)
            thresholds = best_thresholds(token_overlap(train.texts), train.labels)
            predictions["token overlap"] = {metric: (overlap >= t).astype(np.int64) for metric, t in thresholds.items()}
    return predictions


def _scores(task: Task, splits: Splits) -> dict[str, dict[str, Values]]:
    predictions = {"constant": _same(task, np.zeros(len(splits.dev)))}
    if _are_pairs(splits.dev):
        predictions["token overlap"] = _same(task, token_overlap(splits.dev.texts))
    return predictions


def _labels(task: Task, splits: Splits) -> dict[str, dict[str, Values]]:
    labels, rows = splits.train.labels, len(splits.dev)
    sets, counts = np.unique(labels, axis=0, return_counts=True)
    frequency = labels.sum(axis=0)
    order = np.argsort(-frequency, kind="stable")
    hits, predicted = np.cumsum(frequency[order]), len(labels) * np.arange(1, len(order) + 1)
    best = 1 + int((2 * hits / (predicted + frequency.sum())).argmax())
    constants = {
        "majority labels": sets[counts.argmax()],
        "frequent labels": np.isin(np.arange(len(order)), order[:best]).astype(np.int64),
        "all positive": np.ones(len(order), dtype=np.int64),
    }
    return {name: _same(task, np.tile(constant, (rows, 1))) for name, constant in constants.items()}


def token_overlap(pairs: Iterable[Sequence[str]]) -> NDArray[np.float64]:
    """Return the (N,) Jaccard indices, 0 … 1, of pairs of texts; 0 for two texts without words."""
    find_words = re.compile(r"\w+").findall

    def words(text: str) -> set[str]:
        return set(find_words(text.lower()))

    def jaccard(first: set[str], second: set[str]) -> float:
        shared = len(first & second)
        return shared / ((len(first) + len(second) - shared) or 1)

    return np.array([jaccard(words(first), words(second)) for first, second in pairs])


def best_thresholds(feature: NDArray[np.float64], labels: NDArray[Any]) -> dict[str, float]:
    """Return for each metric of classes the threshold t with which "class 1 where feature ≥ t" scores best.

    All N + 1 thresholds are tried in one pass over the rows, sorted by falling feature: the rows up to a threshold are
    the predicted positives.

    :param feature: (N,) real numbers.
    :param labels: (N,) 0 or 1.
    """
    order = np.argsort(-feature, kind="stable")
    candidates = np.concatenate([[np.inf], feature[order]])  # inf: no row is positive
    hits = np.concatenate([[0.0], np.cumsum(labels[order])])
    predicted, positive, rows = np.arange(len(hits)), hits[-1], len(labels)
    right_negatives = rows - positive - (predicted - hits)
    f1_positive = 2 * hits / np.maximum(predicted + positive, 1)
    f1_negative = 2 * right_negatives / np.maximum(2 * rows - predicted - positive, 1)
    spread = predicted * (rows - predicted) * positive * (rows - positive)
    curves = {
        "accuracy": (hits + right_negatives) / rows,
        "macro_f1": (f1_positive + f1_negative) / 2,
        "f1": f1_positive,
        "matthews": (rows * hits - predicted * positive) / np.sqrt(np.maximum(spread, 1)),
    }
    distinct = np.append(
        candidates[1:] != candidates[:-1], True
    )  # rows with equal features are all positive or all negative
    return {metric: float(candidates[np.where(distinct, curve, -2.0).argmax()]) for metric, curve in curves.items()}


def _are_pairs(rows: Rows) -> bool:
    return all(len(texts) == 2 for texts in rows.texts)
