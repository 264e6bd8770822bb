"""Metrics compared with hand-computed values and numpy, and their values where they are undefined."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from mtlbench.contract.task import DEFAULT_METRICS, Kind, Task
from mtlbench.errors import CellError, UsageError
from mtlbench.problem.metrics import METRICS, metric
from mtlbench.problem.metrics import score as score_task


class Scored(Task):
    """A task of which only the kind and the metrics matter."""

    name = "scored"

    def __init__(self, prediction: Kind, *metrics: str) -> None:
        self.given = prediction, metrics or DEFAULT_METRICS[prediction]

    @property
    def prediction(self) -> Kind:
        return self.given[0]

    @property
    def metrics(self) -> tuple[str, ...]:
        return self.given[1]


def score(prediction: Kind, outputs: np.ndarray, labels: np.ndarray, *metrics: str) -> dict[str, float]:
    return score_task(Scored(prediction, *metrics), outputs, labels)


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


def test_metrics_of_glue_by_hand() -> None:
    # class 1: 2 of 3 answers and 2 of 4 labels are hits; class 0: 2 of 4 answers, 2 of 3 labels
    answered, labels = [1, 1, 1, 0, 0, 0, 0], np.array([1, 1, 0, 1, 1, 0, 0])
    found = score("classification", logits(answered, 2), labels, "f1", "matthews")
    assert found == pytest.approx({"f1": 4 / 7, "matthews": (2 * 2 - 1 * 2) / np.sqrt(3 * 4 * 3 * 4)})
    assert list(found) == ["f1", "matthews"]  # the primary one first
    assert score("classification", logits([1] * 7, 2), labels, "matthews") == {"matthews": 0.0}


def test_labels_by_hand() -> None:
    outputs = np.array([[2.0, -1.0, 0.5], [-1.0, -1.0, -1.0], [0.0, 1.0, -3.0]])  # 0 is no answer
    labels = np.array([[1, 0, 0], [0, 0, 0], [1, 1, 0]])
    # answered: {0, 2}, none, {1}; labels: {0}, none, {0, 1}: F1 of label 0 is 2/3, of 1 is 1, of 2 is 0
    expected = {"micro_f1": 2 * 2 / (3 + 3), "macro_f1": (2 / 3 + 1 + 0) / 3, "exact_match": 1 / 3}
    assert score("multilabel", outputs, labels) == pytest.approx(expected)


def test_labels_that_are_never_answered_nor_true_score_zero_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = score("multilabel", -np.ones((3, 2)), np.zeros((3, 2), dtype=int))
    assert found == {"micro_f1": 0.0, "macro_f1": 0.0, "exact_match": 1.0}


def test_a_metric_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, "regression", dict(METRICS["regression"]))

    @metric("regression", "closeness")
    def closeness(answered: np.ndarray, labels: np.ndarray, outputs: int) -> float:
        return -float(np.square(answered - labels).mean())

    assert score("regression", np.array([[1.0], [3.0]]), np.array([1.0, 1.0]), "closeness") == {"closeness": -2.0}
    with pytest.raises(UsageError, match="there is a metric 'pearson' of regression tasks already"):
        metric("regression", "pearson")(closeness)


def test_a_metric_that_does_not_exist() -> None:
    with pytest.raises(UsageError, match="unknown metric of regression task scored: 'pearsons'; did you mean pearson"):
        score("regression", np.zeros((2, 1)), np.zeros(2), "pearsons")
