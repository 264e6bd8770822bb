"""Scores of predictions. A metric is a function of answers and labels, known by its name; higher is better in all."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mtlbench.contract.task import Kind
from mtlbench.errors import CellError, UsageError, said, shown, unknown

if TYPE_CHECKING:
    from mtlbench.problem.interface import Scored

Values = NDArray[Any]
Metric = Callable[[Values, Values, int], float]
"""Of the :func:`answers`, the labels of the same rows, and the number of the head's outputs. Higher is better: a
squared error, say, goes in as its negative."""

METRICS: dict[Kind, dict[str, Metric]] = {"classification": {}, "regression": {}, "multilabel": {}}
"""Every metric by the kind of task that it scores, and its name; :func:`metric` adds to it."""


def metric(kind: Kind, name: str) -> Callable[[Metric], Metric]:
    """Register a function as a metric for tasks of one kind. Use it as a decorator.

    >>> import numpy as np
    >>> from mtlbench import metric
    >>> @metric("regression", "negative_mse")
    ... def negative_mse(predictions, labels, outputs):
    ...     return -float(((predictions - labels) ** 2).mean())
    >>> negative_mse(np.array([1.0, 2.0]), np.array([1.0, 4.0]), 1)
    -2.0

    :param kind: the kind of tasks that the metric scores.
    :param name: the name that tasks list in :attr:`mtlbench.Task.metrics`.
    :raises UsageError: when another metric of this kind has the name.
    """

    def add(function: Metric) -> Metric:
        if METRICS[kind].setdefault(name, function) is not function:
            raise UsageError(f"there is a metric '{name}' of {kind} tasks already; rename yours")
        return function

    return add


def metrics_of(task: Scored) -> dict[str, Metric]:
    """Return the metrics that a task names, the primary one first.

    :raises UsageError: for a name that is not a metric of the task's kind.
    """
    known = METRICS[task.prediction]
    for name in task.metrics:
        if name not in known:
            raise unknown(f"metric of {task.prediction} task {task.key}:", name, known)
    return {name: known[name] for name in task.metrics}


def score(task: Scored, outputs: Values, labels: Values) -> dict[str, float]:
    """Return a task's metrics of a head's raw outputs.

    :param outputs: (N, C) logits of classes or labels, or (N, C) numbers on any scale.
    :param labels: (N,) class numbers 0 … C − 1, real numbers of shape (N,) or, where a row has C, (N, C), or (N, C)
        zeros and ones.
    :raises CellError: when an output is not finite; the message gives how many and the first row. And when a metric
        is not one finite number, or raises.
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
    task: Scored,
    name: str,
    function: Metric,
    answered: Values,
    labels: Values,
    outputs: int,
    fault: type[CellError] | type[UsageError],
) -> float:
    """Return what a metric says of answers.

    :param fault: the error to raise.
    :raises fault: naming task and metric, when it is not one finite number, or the metric raises.
    """
    where = f"task {task.key}: metric {name}"
    try:
        given = function(answered, labels, outputs)
        value = np.asarray(given)
    except Exception as error:  # a plugin's metric may fail in any way at all
        raise fault(f"{where} raised {said(error)}, on {len(labels)} answers") from error
    if value.ndim or value.dtype.kind not in "biuf" or not np.isfinite(value):
        raise fault(f"{where} returned {shown(given)}, on {len(labels)} answers; return one finite number")
    return float(value)


def answers(prediction: Kind, outputs: Values) -> Values:
    """Return what raw outputs say: (N,) the class of the largest logit, the numbers as they are, (N,) or, where a
    row has several, (N, C), or (N, C) 1 for every label whose logit is above 0, where its probability is one half."""
    match prediction:
        case "classification":
            return outputs.argmax(axis=1)
        case "multilabel":
            return (outputs > 0).astype(np.int64)
        case "regression":
            return outputs if outputs.ndim == 2 and outputs.shape[1] > 1 else outputs.reshape(-1)


@metric("classification", "accuracy")
def accuracy(answered: Values, labels: Values, outputs: int) -> float:
    """The share of right answers."""
    return float(np.mean(answered == labels))


@metric("classification", "macro_f1")
def macro_f1(answered: Values, labels: Values, outputs: int) -> float:
    """The unweighted mean of the F1 of *every* class of the task.

    A class that is neither answered nor among the labels counts 0, so that a model cannot gain by a development split
    that lacks a class.
    """
    return _f1(answered, labels, labels=range(outputs), average="macro")


@metric("classification", "f1")
def f1(answered: Values, labels: Values, outputs: int) -> float:
    """The F1 of class 1, as in GLUE for MRPC and QQP."""
    return _f1(answered, labels, labels=[1], average="macro")


@metric("classification", "matthews")
def matthews(answered: Values, labels: Values, outputs: int) -> float:
    """The Matthews correlation coefficient, as in GLUE for CoLA; 0 where one side is constant."""
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(labels, answered))


@metric("regression", "pearson")
def pearson(answered: Values, labels: Values, outputs: int) -> float:
    """The Pearson correlation. Where one side is constant, it is undefined and counts 0: a constant tells no order."""
    from scipy import stats

    return _correlation(stats.pearsonr, answered, labels)


@metric("regression", "spearman")
def spearman(answered: Values, labels: Values, outputs: int) -> float:
    """The Spearman correlation, ties averaged; 0 where one side is constant."""
    from scipy import stats

    return _correlation(stats.spearmanr, answered, labels)


@metric("regression", "r2")
def r2(answered: Values, labels: Values, outputs: int) -> float:
    """The coefficient of determination R², a mean over the numbers of a row; 0 where the labels are constant."""
    errors = np.square(answered.astype(np.float64) - labels).reshape(len(labels), -1).sum(axis=0)
    spread = np.square(labels - labels.mean(axis=0)).reshape(len(labels), -1).sum(axis=0)
    defined = spread > 0.0
    return float(np.where(defined, 1.0 - errors / np.where(defined, spread, 1.0), 0.0).mean())


def _correlation(correlate: Callable[..., Any], answered: Values, labels: Values) -> float:
    if answered.ndim == 2:  # several numbers a row: the mean of their correlations
        pairs = zip(answered.T, labels.T, strict=True)
        return float(np.mean([_correlation(correlate, one, other) for one, other in pairs]))
    answered, labels = answered.astype(np.float64), labels.astype(np.float64)
    if _is_constant(answered) or _is_constant(labels):
        return 0.0
    return float(correlate(answered, labels).statistic)


def _is_constant(values: NDArray[np.float64]) -> bool:
    # float32 outputs differ by 1e-7 of their size if they differ at all; 1e-12 is rounding in float64
    return bool(np.ptp(values) <= 1e-12 * np.abs(values).max())


@metric("multilabel", "micro_f1")
def micro_f1(answered: Values, labels: Values, outputs: int) -> float:
    """F1 over all pairs of a row and a label; 0 where none is answered and none is true."""
    return _f1(answered, labels, average="micro")


@metric("multilabel", "macro_f1")
def macro_f1_of_labels(answered: Values, labels: Values, outputs: int) -> float:
    """The unweighted mean of the F1 of every label; one that is neither answered nor true anywhere counts 0."""
    return _f1(answered, labels, average="macro")


@metric("multilabel", "exact_match")
def exact_match(answered: Values, labels: Values, outputs: int) -> float:
    """The share of rows whose labels are all answered rightly."""
    return float((answered == labels).all(axis=1).mean())


def _f1(answered: Values, true: Values, **options: Any) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(true, answered, zero_division=0, **options))
