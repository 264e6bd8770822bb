"""Scores of predictions: accuracy and macro-F1 of classes, Pearson and Spearman correlation of real numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtlbench.errors import CellError
from mtlbench.task import Kind


def score(prediction: Kind, outputs: NDArray[Any], labels: NDArray[Any]) -> dict[str, float]:
    """Return every metric of a kind of task. All of them: higher is better.

    :param prediction: whether the labels are classes or real numbers.
    :param outputs: the head's raw outputs: (N, C) logits, or (N, 1) scores on any scale.
    :param labels: (N,) class numbers 0 … C-1, or real numbers.
    :raises CellError: when an output is not finite; the message gives how many and the first row.
    """
    finite = np.isfinite(outputs).reshape(len(labels), -1).all(axis=1)
    if not finite.all():
        count, first = np.count_nonzero(~finite), finite.argmin()
        raise CellError(f"{count} of {len(labels)} predictions are not finite; the first is row {first}")
    if prediction == "classification":
        return score_classes(outputs.argmax(axis=1), labels, classes=outputs.shape[1])
    return correlations(outputs.reshape(-1), labels)


def score_classes(predicted: NDArray[Any], labels: NDArray[Any], classes: int) -> dict[str, float]:
    """Return accuracy and macro-F1 of predicted classes.

    Macro-F1 is the unweighted mean of the F1 of *every* class of the task; a class that is neither predicted nor
    among the labels counts 0, so that a model cannot gain by a development split that lacks a class.

    :param predicted: (N,) class numbers.
    :param labels: (N,) class numbers.
    """
    from sklearn.metrics import f1_score

    macro_f1 = f1_score(labels, predicted, labels=range(classes), average="macro", zero_division=0)
    return {"accuracy": float(np.mean(predicted == labels)), "macro_f1": float(macro_f1)}


def correlations(predicted: NDArray[Any], labels: NDArray[Any]) -> dict[str, float]:
    """Return the Pearson and the Spearman correlation (ties averaged).

    Where one side is constant the correlation is undefined; it counts 0, since a constant says nothing about the order.

    :param predicted: (N,) scores on any scale.
    :param labels: (N,) real numbers.
    """
    predicted, labels = predicted.astype(np.float64), labels.astype(np.float64)
    if _is_constant(predicted) or _is_constant(labels):
        return {"pearson": 0.0, "spearman": 0.0}
    from scipy import stats

    return {
        "pearson": float(stats.pearsonr(predicted, labels).statistic),
        "spearman": float(stats.spearmanr(predicted, labels).statistic),
    }


def _is_constant(values: NDArray[np.float64]) -> bool:
    # float32 outputs differ by 1e-7 of their size if they differ at all; 1e-12 is rounding in float64
    return bool(np.ptp(values) <= 1e-12 * np.abs(values).max())
