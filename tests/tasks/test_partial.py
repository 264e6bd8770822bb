"""Training of several tasks on one file whose rows are labelled for some of the tasks only; one task is multi-label."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from mtlbench.contract.task import Rows, Splits
from mtlbench.diagnose.evidence import Run
from mtlbench.execute.predictions_file import parquet
from mtlbench.plan.cells import Workload
from mtlbench.plugins.registry import load_registry
from mtlbench.problem.metrics import answers
from mtlbench.records.record_file import read_side_file
from mtlbench.records.store import Store
from mtlbench.text.floors import floors
from mtlbench.training.result import CellResult
from mtlbench.training.train import train

Make = Callable[..., Workload]
WORDS = ["the", "film", "dog", "cat", "good", "bad", "runs", "sleeps", "slowly", "red", "blue", "house"]
TOPICS = ["plot", "music", "price", "cast"]
ROWS = 60


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Train with one thread, as cells do, and leave torch's setting as it was."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Three tasks on one file: a mood for two rows of three, a score for every second, and topics for the first 40."""
    file = tmp_path_factory.mktemp("partial") / "reviews.jsonl"
    random = np.random.default_rng(0)
    rows = [
        {
            "text": " ".join(random.choice(WORDS, size=6)),
            "mood": None if row % 3 == 0 else str(random.choice(["good", "bad"])),
            "score": float(random.uniform(0, 5)) if row % 2 else None,
            "topics": [topic for topic in TOPICS if random.random() < 0.4] if row < 40 else None,
        }
        for row in range(ROWS)
    ]
    file.write_text("\n".join(map(json.dumps, rows)))
    given = f"train={file},dev={file},text=text,missing=skip"
    return (
        f"table[called=mood,{given},label=mood,classes=bad/good]",
        f"table[called=score,{given},label=score,range=0:5]",
        f"table[called=topics,{given},label=topics,labels={'/'.join(TOPICS)}]",
    )


def run(workload: Workload, method: str) -> CellResult:
    return train(workload, load_registry().method(method), 0)


@pytest.mark.parametrize(
    "method", ["sum", "stl", "famo", "uw", "pcgrad", "krum", "gradnorm", "mgda-ub", "graddrop", "sdmgrad"]
)
def test_methods_of_every_kind_train_on_partial_labels(
    make_workload: Make, tasks: tuple[str, ...], method: str
) -> None:
    if load_registry().method(method).min_tasks > len(tasks):
        tasks = (*tasks, tasks[0].replace("mood", "temper", 1))
    workload = make_workload(steps=2, evaluations=1, tasks=tasks)
    assert [len(splits.train) for splits in workload.problem.splits][:3] == [40, 30, 40]
    assert [splits.train.skipped for splits in workload.problem.splits][:3] == [20, 30, 20]
    outcome = run(workload, method)
    assert outcome.outputs["dev"]["topics"].shape == outcome.labels["dev"]["topics"].shape == (40, 4)
    assert set(outcome.scores["dev"]["topics"]) == {"micro_f1", "macro_f1", "exact_match"}
    assert all(np.isfinite(value) for scores in outcome.scores["dev"].values() for value in scores.values())
    losses = [row["losses"]["topics"] for row in outcome.history if "losses" in row]
    assert losses[0] == pytest.approx(np.log(2), abs=0.05)  # the mean over rows and labels, untrained


@pytest.mark.parametrize("changes", [{"accumulate": 2, "engine": "packed"}, {"engine": "lean"}, {"engine": "loop"}])
def test_every_engine_takes_the_same_step(
    make_workload: Make, tasks: tuple[str, ...], changes: dict[str, object]
) -> None:
    expected, found = (
        run(make_workload(tasks=tasks, steps=1, evaluations=1, **given), "pcgrad").history[0]
        for given in ({"engine": "packed"}, changes)
    )
    tolerance = 0.05 if "accumulate" in changes else 1e-5  # parts have dropout masks of their own
    assert found["losses"] == pytest.approx(expected["losses"], rel=tolerance)


def test_a_label_is_learned(make_workload: Make, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    lines = []
    for _ in range(200):
        words = random.choice(WORDS, size=5, replace=False).tolist()
        lines.append({"text": " ".join(words), "labels": [int("dog" in words), int("red" in words)]})
    (tmp_path / "d.jsonl").write_text("\n".join(map(json.dumps, lines)))
    file = tmp_path / "d.jsonl"
    task = f"table[called=words,train={file},dev={file},text=text,label=labels,labels=2,flags=true]"
    workload = make_workload(tasks=(task,), steps=150, batch_size=16, lr=2e-3, evaluations=1)
    outcome = run(workload, "sum")
    floor = max(one["value"] for one in floors(workload.tasks[0], workload.problem.splits[0])["micro_f1"])
    assert outcome.scores["dev"]["words"]["micro_f1"] > floor + 0.1
    assert np.mean([row["losses"]["words"] for row in outcome.history[-11:-1]]) < 0.5  # ln 2, 0.69, before


def test_the_loss_is_the_mean_binary_cross_entropy() -> None:
    task = load_registry().task("table[called=t,train=a.csv,dev=b.csv,text=text,label=label,labels=2]")
    outputs, labels = torch.tensor([[0.3, -1.2], [2.0, 0.0]]), np.array([[1, 0], [0, 1]])
    rows = Rows([("a",), ("b",)], labels)
    targets = torch.from_numpy(task.targets(Splits(rows, rows, ""), labels))
    probability = torch.sigmoid(outputs).numpy()
    expected = -np.mean(labels * np.log(probability) + (1 - labels) * np.log(1 - probability))
    assert task.loss(outputs, targets).item() == pytest.approx(expected)


def test_predictions_hold_a_label_for_every_output() -> None:
    outputs = {"topics": np.arange(6, dtype=np.float32).reshape(2, 3), "mood": np.ones((2, 2), dtype=np.float32)}
    labels = {"topics": np.array([[1, 0, 1], [0, 0, 1]]), "mood": np.array([1, 0])}
    table = pd.read_parquet(io.BytesIO(parquet(outputs, labels)))
    assert table[table.task == "topics"]["label"].tolist() == [1, 0, 1, 0, 0, 1]
    assert table[table.task == "mood"]["label"].tolist() == [1, 1, 0, 0]


def test_the_whole_way(
    mtlbench: Callable[..., subprocess.CompletedProcess[str]], tasks: tuple[str, ...], tmp_path: Path
) -> None:
    arguments = ("--tasks", ",".join(tasks), "--methods", "stl,sum", "--seeds", "1")
    done = mtlbench("run", *arguments, "--results", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "60 rows without text or label left out" in done.stderr.replace("\n", " ")
    record = Store(tmp_path).scan().records[0]
    described = record["tasks"]["topics"]
    assert described["prediction"] == "multilabel" and described["metrics"][0] == "micro_f1"
    assert {floor["name"] for floor in described["floors"]["micro_f1"]} == {
        "majority labels",
        "frequent labels",
        "all positive",
    }
    assert read_side_file(record, "predictions")
    found = Run(record).outputs["topics"]
    assert found.values.shape == found.labels.shape == (40, 4) and set(np.unique(found.labels)) == {0.0, 1.0}
    answered = answers("multilabel", found.values)
    assert float((answered == found.labels).all(axis=1).mean()) == pytest.approx(
        record["scores"]["topics"]["exact_match"]
    )
    for kind in ("text", "json", "html"):
        report = mtlbench("report", "--results", str(tmp_path), "--format", kind)
        assert report.returncode == 0 and "topics" in report.stdout, report.stderr
    diagnosed = mtlbench("diagnose", "--results", str(tmp_path))
    assert diagnosed.returncode in (0, 1) and "Traceback" not in diagnosed.stderr, diagnosed.stderr
