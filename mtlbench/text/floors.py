"""Trivial floors: scores of predictors that ignore the text or only count words; a trained model should beat them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtlbench.contract.task import Rows, Splits, Task
from mtlbench.problem.floors import TrivialScore, constant_answers, scores_of, tiled


def floors(task: Task, splits: Splits) -> dict[str, list[TrivialScore]]:
    """Return metric → floors, fitted on the training rows and measured on the development rows.

    Besides those of :func:`mtlbench.problem.floors.constant_answers`:

    - ``token overlap``: for pairs, the Jaccard index J of their lower-cased words: words in both / words in either.
      With two classes, class 1 where J ≥ t, with the threshold t that is best for the metric; with real labels, J.

    A plugin's metric has only the floors without a threshold.

    :param task: the task.
    :param splits: its rows.
    :raises UsageError: when a plugin's metric raises or does not return one finite number; names task and metric.
    """
    train, dev = splits.train, splits.dev
    answers = constant_answers(task, train.labels)  # real labels are standardised, so that their mean is 0
    predictions = {name: tiled(task, answer, len(dev)) for name, answer in answers.items()}
    if _are_pairs(dev) and task.prediction == "regression":
        predictions["token overlap"] = dict.fromkeys(task.metrics, token_overlap(dev.texts))
    elif _are_pairs(dev) and task.prediction == "classification" and task.outputs == 2:
        overlap = token_overlap(dev.texts)
        thresholds = best_thresholds(token_overlap(train.texts), train.labels)
        predictions["token overlap"] = {metric: (overlap >= t).astype(np.int64) for metric, t in thresholds.items()}
    return scores_of(task, predictions, dev.labels)


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
