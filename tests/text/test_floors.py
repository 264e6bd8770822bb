"""Trivial floors: by hand, by brute force, and the known values of the real files."""

from __future__ import annotations

import numpy as np
import pytest
from real_data import REAL, needs_files

from mtlbench.contract.task import Rows, Splits, Task
from mtlbench.plugins.registry import load_registry
from mtlbench.problem.floors import TrivialScore
from mtlbench.problem.metrics import METRICS
from mtlbench.text.floors import best_thresholds, floors, token_overlap


def task(label: str, pairs: bool) -> Task:
    second = ",text2=b" if pairs else ""
    return load_registry().task(f"table[called=t,train=x.csv,dev=y.csv,text=a{second},label=l,{label}]")


def values(found: dict[str, list[TrivialScore]], metric: str) -> dict[str, float]:
    return {floor["name"]: floor["value"] for floor in found[metric]}


def test_majority_is_that_of_the_training_rows() -> None:
    train = Rows([("a",)] * 5, np.array([2, 2, 2, 0, 1]))
    dev = Rows([("a",)] * 4, np.array([0, 0, 0, 2]))
    found = floors(task("classes=3", pairs=False), Splits(train, dev, ""))
    assert values(found, "accuracy") == {"majority class": 0.25}
    assert values(found, "macro_f1") == {"majority class": pytest.approx(0.4 / 3)}


def test_pairs_of_two_classes() -> None:
    train = Rows([("a b", "a b"), ("a b", "a c"), ("a b", "c d"), ("x", "y")], np.array([1, 1, 0, 0]))
    dev = Rows([("p q", "q P!"), ("p q", "r s"), ("p q", "q r"), ("p q", "s q")], np.array([1, 0, 0, 0]))
    found = floors(task("classes=2", pairs=True), Splits(train, dev, ""))
    # fitted on train: 1 where J ≥ 1/3
    assert values(found, "accuracy") == {"majority class": 0.75, "all positive": 0.25, "token overlap": 0.5}
    assert set(values(found, "macro_f1")) == {"majority class", "all positive", "token overlap"}


def test_regression() -> None:
    train = Rows([("a", "b")], np.array([1.0]))
    dev = Rows([("a b", "a b"), ("a b", "a c"), ("a", "b")], np.array([3.0, 1.0, 0.0]))
    found = floors(task("range=0:5", pairs=True), Splits(train, dev, ""))
    assert values(found, "spearman") == {"constant": 0.0, "token overlap": pytest.approx(1.0)}
    assert values(found, "pearson")["token overlap"] == pytest.approx(np.corrcoef([1, 1 / 3, 0], [3, 1, 0])[0, 1])
    single = Splits(Rows([("a",)], np.array([1.0])), Rows([("a",)] * 3, dev.labels), "")
    assert values(floors(task("range=0:5", pairs=False), single), "pearson") == {"constant": 0.0}


def test_metrics_that_a_task_names_have_floors() -> None:
    rows = Rows([("a", "b"), ("a", "a"), ("c", "d")], np.array([0, 1, 0]))
    found = floors(task("classes=2,metric=f1/matthews", pairs=True), Splits(rows, rows, ""))
    assert list(found) == ["f1", "matthews"]
    assert values(found, "f1") == {"majority class": 0.0, "all positive": 0.5, "token overlap": 1.0}
    assert values(found, "matthews") == {"majority class": 0.0, "all positive": 0.0, "token overlap": pytest.approx(1)}


def test_labels() -> None:
    train = Rows([("a",)] * 5, np.array([[1, 0, 0], [1, 1, 0], [1, 1, 0], [0, 0, 1], [0, 0, 0]]))
    dev = Rows([("a",)] * 2, np.array([[1, 0, 0], [1, 1, 0]]))
    found = floors(task("labels=3", pairs=False), Splits(train, dev, ""))
    assert values(found, "exact_match") == {"majority labels": 0.5, "frequent labels": 0.5, "all positive": 0.0}
    # micro-F1 on train of the 1, 2 and 3 most frequent: 6/11, 10/16, 12/21
    assert values(found, "micro_f1") == {
        "majority labels": pytest.approx(6 / 7),
        "frequent labels": pytest.approx(6 / 7),
        "all positive": pytest.approx(6 / 9),
    }


def test_token_overlap() -> None:
    pairs = [("The cat, the hat", "a CAT"), ("?!", "..."), ("same", "Same."), ("", "x"), ("naïve café", "Café")]
    assert token_overlap(pairs).tolist() == [0.25, 0.0, 1.0, 0.0, 0.5]


@pytest.mark.parametrize("seed", range(20))
def test_thresholds_are_the_best_of_all(seed: int) -> None:
    random = np.random.default_rng(seed)
    feature = random.integers(0, 8, 40) / 7
    labels = (feature + random.normal(scale=0.6, size=40) > random.random()).astype(int)
    found = best_thresholds(feature, labels)
    for metric, function in METRICS["classification"].items():
        every = {t: function((feature >= t).astype(int), labels, 2) for t in [*set(feature), np.inf]}
        assert every[found[metric]] == pytest.approx(max(every.values()))


@pytest.mark.parametrize("label", [0, 1])
def test_thresholds_of_a_single_class(label: int) -> None:
    found = best_thresholds(np.array([0.0, 0.5, 0.5]), np.full(3, label))
    assert ((np.array([0.0, 0.5, 0.5]) >= found["accuracy"]) == label).all()


@needs_files
class TestRealFiles:
    def of(self, name: str) -> dict[str, list[TrivialScore]]:
        task = load_registry().task(name)
        return floors(task, task.load(REAL))

    def test_sst(self) -> None:
        assert values(self.of("sst5"), "accuracy") == {"majority class": pytest.approx(0.253, abs=5e-4)}

    def test_quora(self) -> None:
        found = values(self.of("qqp"), "accuracy")
        assert found["majority class"] == pytest.approx(0.6247, abs=5e-5)
        assert found["all positive"] == pytest.approx(0.3753, abs=5e-5)
        # .666 when the threshold is fitted on the development file itself
        assert 0.66 < found["token overlap"] <= 0.6665

    def test_sts(self) -> None:
        assert values(self.of("stsb"), "pearson")["token overlap"] == pytest.approx(0.60, abs=5e-3)
