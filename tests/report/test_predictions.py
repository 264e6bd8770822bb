"""Scores by development row, read from the predictions beside a record."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from factory import grid

from mtlbench.execute.predictions_file import parquet
from mtlbench.problem.metrics import METRICS, answers
from mtlbench.report.build import build
from mtlbench.report.predictions import right_answers
from mtlbench.training.result import CellResult


def beside(folder: Path, content: bytes) -> dict[str, Any]:
    """Return the part of a record that refers to a predictions file with this content."""
    (folder / "made.parquet").write_bytes(content)
    entry = {"name": "made.parquet", "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return {"path": str(folder / "record.json"), "files": {"predictions": entry}}


def record_with(folder: Path, outcome: CellResult, metrics: dict[str, str]) -> dict[str, Any]:
    return {
        **beside(folder, parquet(outcome.outputs["dev"], outcome.labels["dev"])),
        "tasks": {task: {"metrics": [metric]} for task, metric in metrics.items()},
    }


def test_right_answers_average_to_the_accuracy(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    outputs = {"mood": random.normal(size=(40, 3)).astype(np.float32), "like": np.ones((9, 1), np.float32)}
    labels = {"mood": random.integers(0, 3, 40), "like": np.linspace(0, 1, 9)}
    outcome = CellResult(outputs={"dev": outputs}, labels={"dev": labels})
    result = right_answers(record_with(tmp_path, outcome, {"mood": "accuracy", "like": "pearson"}))
    assert set(result) == {"mood"}
    accuracy = METRICS["classification"]["accuracy"](answers("classification", outputs["mood"]), labels["mood"], 3)
    assert result["mood"].mean() == pytest.approx(accuracy)
    expected = outputs["mood"].argmax(axis=1) == labels["mood"]
    assert result["mood"].tolist() == expected.astype(float).tolist()


def test_unreadable_predictions_give_no_answers(tmp_path: Path) -> None:
    assert right_answers({"files": {}}) == {}
    assert right_answers(beside(tmp_path, b"no parquet")) == {}
    buffer = io.BytesIO()
    pd.DataFrame({"label": [1.0]}).to_parquet(buffer)
    assert right_answers(beside(tmp_path, buffer.getvalue())) == {}
    gone = beside(tmp_path, b"")
    (tmp_path / "made.parquet").unlink()
    assert right_answers(gone) == {}


def test_predictions_that_changed_are_not_used(tmp_path: Path) -> None:
    outcome = CellResult(outputs={"dev": {"mood": np.eye(3, dtype=np.float32)}}, labels={"dev": {"mood": np.arange(3)}})
    record = record_with(tmp_path, outcome, {"mood": "accuracy"})
    assert right_answers(record)["mood"].tolist() == [1.0, 1.0, 1.0]
    outcome.labels["dev"]["mood"] = np.zeros(3)
    (tmp_path / "made.parquet").write_bytes(parquet(outcome.outputs["dev"], outcome.labels["dev"]))
    assert right_answers(record) == {}


def test_the_report_says_that_there_are_no_rows() -> None:
    (group,) = build(grid({"sum": 0.0, "pcgrad": 0.01}, 5), examples=lambda record: {}).groups
    assert not group.example_intervals
    assert any("no record here has scores by development row" in note for note in group.notes)
