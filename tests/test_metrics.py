"""Metrics against hand-made numbers and numpy, and their behaviour where they are undefined."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from mtlbench.errors import CellError
from mtlbench.metrics import score


def logits(classes: list[int], of: int) -> np.ndarray:
    return np.eye(of, dtype=np.float32)[classes]


def test_accuracy_and_macro_f1_by_hand() -> None:
    # class 0: precision 2/3, recall 1 → F1 .8; class 1: precision 1, recall 1/2 → F1 2/3
    scores = score("classification", logits([0, 0, 0, 1], 2), np.array([0, 0, 1, 1]))
    assert scores == pytest.approx({"accuracy": 0.75, "macro_f1": (0.8 + 2 / 3) / 2})


def test_macro_f1_counts_every_class_of_the_task() -> None:
    scores = score("classification", logits([0, 1], 4), np.array([0, 1]))
    assert scores == {"accuracy": 1.0, "macro_f1": 0.5}


def test_logits_need_no_scale() -> None:
    outputs = np.array([[-5.0, -9.0, -7.0], [1e30, 2e30, 0.0]])
    assert score("classification", outputs, np.array([0, 1]))["accuracy"] == 1.0


def test_correlations_by_numpy() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 6, 200).astype(float)
    outputs = (labels + random.normal(size=200)).astype(np.float32)[:, None]
    scores = score("regression", outputs, labels)
    assert scores["pearson"] == pytest.approx(np.corrcoef(outputs[:, 0], labels)[0, 1])
    average_ranks = [[(np.sum(v < x) + np.sum(v <= x) + 1) / 2 for x in v] for v in (outputs[:, 0], labels)]
    assert scores["spearman"] == pytest.approx(np.corrcoef(average_ranks)[0, 1])


def test_correlations_ignore_shift_and_positive_scale() -> None:
    labels = np.array([0.0, 1.5, 2.0, 5.0])
    outputs = np.array([[0.1], [0.4], [0.2], [0.9]])
    assert score("regression", 3 * outputs - 7, labels) == pytest.approx(score("regression", outputs, labels))
    assert score("regression", labels[:, None], labels) == pytest.approx({"pearson": 1, "spearman": 1})
    assert score("regression", -labels[:, None], labels) == pytest.approx({"pearson": -1, "spearman": -1})


@pytest.mark.parametrize(
    ("outputs", "labels"),
    [
        ([0.3, 0.3, 0.3], [1.0, 2.0, 3.0]),
        ([0.0, 0.0, 0.0], [1.0, 2.0, 3.0]),
        ([1e8, 1e8 + 1e-7, 1e8], [1.0, 2.0, 3.0]),
        ([1.0, 2.0, 3.0], [2.5, 2.5, 2.5]),
        ([1.0], [2.0]),
    ],
)
def test_constants_score_zero_without_a_warning(outputs: list[float], labels: list[float]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = score("regression", np.array(outputs)[:, None], np.array(labels))
    assert scores == {"pearson": 0.0, "spearman": 0.0}


def test_float32_differences_are_no_constant() -> None:
    outputs = np.array([1.0, 1.0 + 2**-23, 1.0 + 2**-22], dtype=np.float32)[:, None]
    assert score("regression", outputs, np.array([1.0, 2.0, 3.0]))["pearson"] == pytest.approx(1.0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite(value: float) -> None:
    outputs = np.zeros((5, 2))
    outputs[3, 1] = outputs[4, 0] = value
    with pytest.raises(CellError, match=r"^2 of 5 predictions are not finite; the first is row 3$"):
        score("classification", outputs, np.zeros(5, dtype=int))
    with pytest.raises(CellError, match="not finite"):
        score("regression", outputs[:, 1:], np.arange(5.0))
