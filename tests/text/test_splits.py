"""The test split: whole groups of rows, no text on both sides, scored once."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from text_runs import run

from mtlbench.contract.task import Rows, Splits
from mtlbench.errors import UsageError
from mtlbench.plan.cells import Workload
from mtlbench.records.record_file import read_side_file
from mtlbench.records.store import Store
from mtlbench.text.splits import carve, groups


def splits_of(pairs: list[tuple[str, ...]]) -> Splits:
    rows = Rows(pairs, np.arange(len(pairs)) % 2)
    return Splits(rows, Rows([("dev",)], np.zeros(1, dtype=np.int64)), "here")


def test_rows_that_share_a_text_stay_together() -> None:
    rows = Rows([("a", "b"), ("c", "d"), ("B ", "e"), ("f", "g"), ("e", "h")], np.zeros(5))
    assert groups(rows).tolist() == [0, 1, 0, 2, 0]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=8, max_size=60), st.integers(2, 4))
def test_no_text_is_on_both_sides(pairs: list[tuple[int, int]], count: int) -> None:
    splits = splits_of([(f"text {one}", f"text {other}") for one, other in pairs])
    if np.bincount(groups(splits.train)).min() > count:
        with pytest.raises(UsageError, match="no test split can be made"):
            carve(splits, count, "task")
        return
    made = carve(splits, count, "task")
    assert made.test is not None and 0 < len(made.test) <= count
    assert len(made.test) + len(made.train) == len(pairs)
    sides = [{text for row in rows.texts for text in row} for rows in (made.train, made.test)]
    assert not sides[0] & sides[1]
    assert carve(splits, count, "task").fingerprint == made.fingerprint != splits.fingerprint


def test_too_many_rows_are_refused() -> None:
    with pytest.raises(UsageError, match="3 test rows are more than half of its 5 training rows"):
        carve(splits_of([(f"{row}",) for row in range(5)]), 3, "few")


def test_the_test_split_is_scored_once_and_recorded(
    mtlbench: Callable[..., object], make_workload: Callable[..., Workload], tmp_path: Path, suite_file: Path
) -> None:
    outcome = run(make_workload(test_rows=6), "sum")
    assert set(outcome.scores) == {"dev", "test"} and set(outcome.scores["test"]) == {"mood", "same", "like"}
    assert len(outcome.labels["test"]["mood"]) <= 6
    evaluations = [row["scores"] for row in outcome.history if "scores" in row]
    assert evaluations[-1] == outcome.scores["dev"]

    suite = tmp_path / "tested.toml"
    suite.write_text(suite_file.read_text() + "test_rows = 6\n")
    mtlbench("run", "--suite", str(suite), "--methods", "sum,mgda", "--results", str(tmp_path / "results"))
    record, _ = Store(tmp_path / "results").scan().records
    assert set(record["test_scores"]) == {"mood", "same", "like"} == set(record["seen"])
    assert record["tasks"]["mood"]["test"]["rows"] <= 6 and record["tasks"]["mood"]["test"]["floors"]["accuracy"]
    table = pd.read_parquet(io.BytesIO(read_side_file(record, "test_predictions")))
    assert (table[table.task == "mood"].row.max() + 1) == record["tasks"]["mood"]["test"]["rows"]
    report = mtlbench("report", "--results", str(tmp_path / "results"), "--split", "test")
    assert "on test; higher is better" in report.stdout and report.returncode == 0
    wrong = mtlbench("report", "--results", str(tmp_path / "results"), "--split", "tests")
    assert wrong.returncode == 2 and "did you mean test" in wrong.stderr
