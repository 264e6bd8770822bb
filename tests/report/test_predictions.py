"""Scores by development row, read back from what a cell left beside its record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factory import grid

from mtlbench.execute.worker import _parquet
from mtlbench.metrics import score
from mtlbench.report.build import build
from mtlbench.report.predictions import right_answers
from mtlbench.train import Outcome


def record_with(folder: Path, outcome: Outcome, metrics: dict[str, str]) -> dict[str, Any]:
    (folder / "made.parquet").write_bytes(_parquet(outcome))
    return {
        "path": str(folder / "record.json"),
        "files": {"predictions": {"name": "made.parquet"}},
        "tasks": {task: {"metrics": [metric]} for task, metric in metrics.items()},
    }


def test_right_answers_average_to_the_accuracy(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    outcome = Outcome()
    outcome.outputs = {"mood": random.normal(size=(40, 3)).astype(np.float32), "like": np.ones((9, 1), np.float32)}
    outcome.labels = {"mood": random.integers(0, 3, 40), "like": np.linspace(0, 1, 9)}
    found = right_answers(record_with(tmp_path, outcome, {"mood": "accuracy", "like": "pearson"}))
    assert set(found) == {"mood"}
    accuracy = score("classification", outcome.outputs["mood"], outcome.labels["mood"])["accuracy"]
    assert found["mood"].mean() == pytest.approx(accuracy)
    expected = outcome.outputs["mood"].argmax(axis=1) == outcome.labels["mood"]
    assert found["mood"].tolist() == expected.astype(float).tolist()


def test_what_cannot_be_read_gives_nothing(tmp_path: Path) -> None:
    assert right_answers({"files": {}}) == {}
    (tmp_path / "made.parquet").write_bytes(b"no parquet")
    assert right_answers({"path": str(tmp_path / "r.json"), "files": {"predictions": {"name": "made.parquet"}}}) == {}
    assert right_answers({"path": str(tmp_path / "r.json"), "files": {"predictions": {"name": "gone.parquet"}}}) == {}


def test_the_report_says_that_there_are_no_rows() -> None:
    (group,) = build(grid({"sum": 0.0, "pcgrad": 0.01}, 5), examples=lambda record: {}).groups
    assert not group.example_intervals
    assert any("no record here has scores by development row" in note for note in group.notes)
