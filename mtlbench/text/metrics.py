"""Metrics: named functions that score answers against labels. Higher is always better."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtlbench.contract.task import Kind, Task
from mtlbench.errors import CellError, UsageError, said, shown, unknown

Values = NDArray[Any]
Metric = Callable[[Values, Values, int], float]
"""Function of :func:`answers`, the labels of the same rows, and the size of the head. Higher is better: return an error
measure, such as a squared error, as its negative."""

METRICS: dict[Kind, dict[str, Metric]] = {"classification": {}, "regression": {}, "multilabel": {}}
"""Kind of task → name → metric; :func:`metric` adds entries."""


def metric(kind: Kind, name: str) -> Callable[[Metric], Metric]:
    """Return a decorator that registers a function as a metric of tasks of one kind.

    :param kind: the kind of task.
    :param name: the name by which tasks refer to the metric.
    :raises UsageError: when the name is already taken; raised by the decorator.
    """

    def add(function: Metric) -> Metric:
        if METRICS[kind].setdefault(name, function) is not function:
            raise UsageError(f"there is a metric '{name}' of {kind} tasks already; rename yours")
        return function

    return add


def metrics_of(task: Task) -> dict[str, Metric]:
    """Return a task's metrics by name, the primary one first.

    :raises UsageError: for a name that is not a metric of the task's kind.
    """
    known = METRICS[task.prediction]
    for name in task.metrics:
        if name not in known:
            raise unknown(f"metric of {task.prediction} task {task.key}:", name, known)
    return {name: known[name] for name in task.metrics}


def score(task: Task, outputs: Values, labels: Values) -> dict[str, float]:
    """Return the values of a task's metrics for a head's raw outputs.

    :param task: the task.
    :param outputs: (N, C) logits of classes or labels, or (N, 1) scores on any scale.
    :param labels: (N,) class numbers 0 … C − 1, (N,) real numbers, or (N, C) zeros and ones.
    :raises CellError: when outputs are not finite (the message gives their number and the first row), or when a metric
        raises or does not return one finite number.
    """
    finite = np.isfinite(outputs).reshape(len(labels), -1).all(axis=1)
    if not finite.all():
        count, first = np.count_nonzero(~finite), finite.argmin()
        raise CellError(f"{count} of {len(labels)} predictions are not finite; the first is row {first}")
    answered = answers(task.prediction, outputs)
    return {
        name: value_of(task, name, function, answered, labels, outputs.shape[1], CellError)
        for name, function in metrics_of(task).items()
    }


def value_of(
    task: Task,
    name: str,
    function: Metric,
    answered: Values,
    labels: Values,
    outputs: int,
    fault: type[CellError] | type[UsageError],
) -> float:
    """Return the value of one metric.

    :param task: the task, for messages.
    :param name: the metric's name, for messages.
    :param function: the metric.
    :param answered: result of :func:`answers`.
    :param labels: labels of the same rows.
    :param outputs: size of the task's head.
    :param fault: the class of error to raise.
    :raises fault: when the metric raises or does not return one finite number; names task and metric.
    """
    where = f"task {task.key}: metric {name}"
    try:
        result = function(answered, labels, outputs)
        value = np.asarray(result)
    except Exception as error:  # a plugin's metric may raise anything
        raise fault(f"{where} raised {said(error)}, on {len(labels)} answers") from error
    if value.ndim or value.dtype.kind not in "biuf" or not np.isfinite(value):
        raise fault(f"{where} returned {shown(result)}, on {len(labels)} answers; return one finite number")
    return float(value)


def answers(prediction: Kind, outputs: Values) -> Values:
    """Convert a head's raw outputs to answers.

    :param prediction: the kind of task.
    :param outputs: (N, C) logits of classes or labels, or (N, 1) scores.
    :returns: (N,) the class of the largest logit; (N,) the scores, unchanged; or (N, C) 1 for each label whose logit is
        above 0, which is a probability above one half.
    """
    match prediction:
        case "classification":
            return outputs.argmax(axis=1)
        case "multilabel":
            return (outputs > 0).astype(np.int64)
        case "regression":
            return outputs.reshape(-1)


@metric("classification", "accuracy")
def accuracy(answered: Values, labels: Values, outputs: int) -> float:
    """Return the share of correct answers."""
    return float(np.mean(answered == labels))


@metric("classification", "macro_f1")
def macro_f1(answered: Values, labels: Values, outputs: int) -> float:
    """Return the unweighted mean of the F1 of *every* class of the task.

    A class that occurs in neither answers nor labels counts 0, so that a development split without this class is no
    advantage.
    """
    return _f1(answered, labels, labels=range(outputs), average="macro")


@metric("classification", "f1")
def f1(answered: Values, labels: Values, outputs: int) -> float:
    """Return the F1 of class 1, as in GLUE for MRPC and QQP."""
    return _f1(answered, labels, labels=[1], average="macro")


@metric("classification", "matthews")
def matthews(answered: Values, labels: Values, outputs: int) -> float:
    """Return the Matthews correlation coefficient, as in GLUE for CoLA; 0 where answers or labels are constant."""
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(labels, answered))


@metric("regression", "pearson")
def pearson(answered: Values, labels: Values, outputs: int) -> float:
    """Return the Pearson correlation; 0 where answers or labels are constant and it is undefined."""
    from scipy import stats

    return _correlation(stats.pearsonr, answered, labels)


@metric("regression", "spearman")
def spearman(answered: Values, labels: Values, outputs: int) -> float:
    """Return the Spearman correlation, with averaged ranks of ties; 0 where answers or labels are constant."""
    from scipy import stats

    return _correlation(stats.spearmanr, answered, labels)


def _correlation(correlate: Callable[..., Any], answered: Values, labels: Values) -> float:
    answered, labels = answered.astype(np.float64), labels.astype(np.float64)
    if _is_constant(answered) or _is_constant(labels):
        return 0.0
    return float(correlate(answered, labels).statistic)


def _is_constant(values: NDArray[np.float64]) -> bool:
    # distinct float32 outputs differ by at least 1e-7 of their size; 1e-12 is rounding in float64
    return bool(np.ptp(values) <= 1e-12 * np.abs(values).max())


@metric("multilabel", "micro_f1")
def micro_f1(answered: Values, labels: Values, outputs: int) -> float:
    """Return the F1 over all pairs of a row and a label; 0 where no label is answered and none is true."""
    return _f1(answered, labels, average="micro")


@metric("multilabel", "macro_f1")
def macro_f1_of_labels(answered: Values, labels: Values, outputs: int) -> float:
    """Return the unweighted mean of the F1 of every label; a label that is never answered and never true counts 0."""
    return _f1(answered, labels, average="macro")


@metric("multilabel", "exact_match")
def exact_match(answered: Values, labels: Values, outputs: int) -> float:
    """Return the share of rows whose labels are all correct."""
    return float((answered == labels).all(axis=1).mean())


def _f1(answered: Values, true: Values, **options: Any) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(true, answered, zero_division=0, **options))
