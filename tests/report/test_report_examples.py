"""Intervals over seeds and development rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from factory import grid
from report_json import as_json

from mtlbench.report import render
from mtlbench.report.build import build

ROWS = 200


def by_row(cell: Any) -> dict[str, Any]:
    """Return right and wrong answers by row whose mean is the recorded accuracy."""
    order = np.random.default_rng(cell["seed"]).permutation(ROWS)
    return {task: (order < round(cell["scores"][task]["accuracy"] * ROWS)).astype(float) for task in ("sst5", "qqp")}


def rounded(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Round accuracies to multiples of 1 / ROWS."""
    for cell in records:
        for task in ("sst5", "qqp"):
            cell["scores"][task]["accuracy"] = round(cell["scores"][task]["accuracy"] * ROWS) / ROWS
    return records


def test_intervals_over_seeds_and_rows() -> None:
    records = rounded(grid({"sum": 0.0, "pcgrad": 0.05}, 5))
    parsed = as_json(records, examples=by_row)
    result = {e["task"]: e for e in parsed["example_intervals"]}
    assert result.keys() == {"sst5", "qqp"}  # a correlation is no mean over rows
    single = {c["task"]: c for c in parsed["comparisons"] if c["metric"] == "accuracy"}
    for task, e in result.items():
        assert (e["seeds"], e["examples"]) == (5, ROWS)
        assert e["mean_difference"] == pytest.approx(single[task]["mean_difference"])
        assert e["ci_low"] < e["mean_difference"] < e["ci_high"]
    assert "over seeds and development rows" in render(build(records, examples=by_row), "text")


def test_rows_that_do_not_average_to_the_score_are_not_used() -> None:
    records = rounded(grid({"sum": 0.0, "pcgrad": 0.05}, 5))
    parsed = as_json(records, examples=lambda cell: {"sst5": 1 - by_row(cell)["sst5"]})
    assert parsed["example_intervals"] == []
    assert any("scores by row of sst5 do not average to its accuracy" in note for note in parsed["notes"])
    unequal = as_json(records, examples=lambda cell: {"sst5": np.ones(3 + (cell["method"]["spec"] == "sum"))})
    assert unequal["example_intervals"] == []
