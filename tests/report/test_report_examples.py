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


def by_row(one: Any) -> dict[str, Any]:
    """Return right and wrong answers by row whose mean is the recorded accuracy."""
    order = np.random.default_rng(one["seed"]).permutation(ROWS)
    return {task: (order < round(one["scores"][task]["accuracy"] * ROWS)).astype(float) for task in ("sst5", "qqp")}


def rounded(made: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Round accuracies to multiples of 1 / ROWS."""
    for one in made:
        for task in ("sst5", "qqp"):
            one["scores"][task]["accuracy"] = round(one["scores"][task]["accuracy"] * ROWS) / ROWS
    return made


def test_intervals_over_seeds_and_rows() -> None:
    made = rounded(grid({"sum": 0.0, "pcgrad": 0.05}, 5))
    parsed = as_json(made, examples=by_row)
    found = {e["task"]: e for e in parsed["example_intervals"]}
    assert found.keys() == {"sst5", "qqp"}  # a correlation is no mean over rows
    single = {c["task"]: c for c in parsed["comparisons"] if c["metric"] == "accuracy"}
    for task, e in found.items():
        assert (e["seeds"], e["examples"]) == (5, ROWS)
        assert e["mean_difference"] == pytest.approx(single[task]["mean_difference"])
        assert e["ci_low"] < e["mean_difference"] < e["ci_high"]
    assert "over seeds and development rows" in render(build(made, examples=by_row), "text")


def test_rows_that_do_not_average_to_the_score_are_not_used() -> None:
    made = rounded(grid({"sum": 0.0, "pcgrad": 0.05}, 5))
    parsed = as_json(made, examples=lambda one: {"sst5": 1 - by_row(one)["sst5"]})
    assert parsed["example_intervals"] == []
    assert any("scores by row of sst5 do not average to its accuracy" in note for note in parsed["notes"])
    unequal = as_json(made, examples=lambda one: {"sst5": np.ones(3 + (one["method"]["spec"] == "sum"))})
    assert unequal["example_intervals"] == []
