"""Trivial floors: scores of predictors that give every row the same answer; a trained model should beat them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from mtlbench.errors import UsageError
from mtlbench.problem.metrics import metrics_of, value_of

if TYPE_CHECKING:
    from mtlbench.problem.interface import Scored

Values = NDArray[Any]


class TrivialScore(TypedDict):
    """One trivial predictor and its score on the rows of a split."""

    name: str
    value: float


def floors(task: Scored, train: Values, labels: Values) -> dict[str, list[TrivialScore]]:
    """Return metric → floors, fitted on training labels and measured on other labels; see :func:`constant_answers`.

    :param task: the task.
    :param train: labels of the training rows that have one.
    :param labels: labels of the rows to predict.
    :raises UsageError: as :func:`scores_of`.
    """
    center = train.mean(axis=0) if task.prediction == "regression" else None
    answers = constant_answers(task, train, center)
    return scores_of(task, {name: tiled(task, answer, len(labels)) for name, answer in answers.items()}, labels)


def constant_answers(task: Scored, train: Values, center: Any = 0.0) -> dict[str, Values]:
    """Return predictor → the answer that it gives to every row, fitted on the training labels.

    - ``majority class``: the most frequent class.
    - ``all positive``: class 1 (tasks of two classes), or all labels (multi-label tasks).
    - ``constant``: one number (real labels), whose correlation counts 0.
    - ``majority labels``: the most frequent set of labels.
    - ``frequent labels``: the k most frequent labels, with the k that is best for micro-F1.

    :param task: the task.
    :param train: (N,) or (N, C) training labels.
    :param center: the constant answer to real labels.
    """
    match task.prediction:
        case "classification":
            majority = np.asarray(np.bincount(train, minlength=task.outputs).argmax())
            return {"majority class": majority} | ({"all positive": np.asarray(1)} if task.outputs == 2 else {})
        case "regression":
            return {"constant": np.asarray(center, dtype=np.float64)}
        case "multilabel":
            return _constant_labels(train)


def _constant_labels(labels: Values) -> dict[str, Values]:
    sets, counts = np.unique(labels, axis=0, return_counts=True)
    frequency = labels.sum(axis=0)
    order = np.argsort(-frequency, kind="stable")
    hits, predicted = np.cumsum(frequency[order]), len(labels) * np.arange(1, len(order) + 1)
    best = 1 + int((2 * hits / (predicted + frequency.sum())).argmax())
    return {
        "majority labels": sets[counts.argmax()],
        "frequent labels": np.isin(np.arange(len(order)), order[:best]).astype(np.int64),
        "all positive": np.ones(len(order), dtype=np.int64),
    }


def tiled(task: Scored, answer: Values, rows: int) -> dict[str, Values]:
    """Return metric → the same answer for every row.

    :param task: the task.
    :param answer: the answer to one row.
    :param rows: the number of rows.
    """
    return dict.fromkeys(task.metrics, np.repeat(answer[None], rows, axis=0))


def scores_of(
    task: Scored, answers: Mapping[str, Mapping[str, Values]], labels: Values
) -> dict[str, list[TrivialScore]]:
    """Return metric → the scores of trivial predictors.

    :param task: the task.
    :param answers: predictor → metric → its answers; a predictor may lack a metric.
    :param labels: labels of the same rows.
    :raises UsageError: when a plugin's metric raises or does not return one finite number; names task and metric.
    """
    return {
        name: [
            TrivialScore(
                name=predictor,
                value=value_of(task, name, function, by_metric[name], labels, task.outputs, UsageError),
            )
            for predictor, by_metric in answers.items()
            if name in by_metric
        ]
        for name, function in metrics_of(task).items()
    }
