"""Comparisons with the baseline, paired and unpaired, and Δm."""

from __future__ import annotations

from typing import Any

import pytest
from factory import grid, record
from report_json import as_json

from mtlbench.report import render
from mtlbench.report.build import build


def test_the_numbers_of_one_comparison(records: list[dict[str, Any]]) -> None:
    parsed = as_json(records)
    scores = {r["seed"]: r["scores"]["sst5"]["accuracy"] for r in records if r["method"]["spec"] == "mgda"}
    result = next(s for s in parsed["summary"] if (s["method"], s["metric"], s["task"]) == ("mgda", "accuracy", "sst5"))
    assert (result["n"], result["mean"]) == (5, pytest.approx(sum(scores.values()) / 5))
    against = {(c["method"], c["task"], c["metric"]): c for c in parsed["comparisons"]}
    lower = against["mgda", "sst5", "accuracy"]
    assert lower["ci_low"] < lower["mean_difference"] < lower["ci_high"] < 0
    assert (lower["n"], lower["test"], lower["paired"], lower["exact_floor"]) == (5, "paired t", True, 0.0625)
    assert lower["verdict"] == "lower"
    assert against["pcgrad", "sst5", "accuracy"]["n"] == 3
    assert against["pcgrad", "sst5", "accuracy"]["verdict"] == "too few seeds"


def test_hashes_that_differ_make_the_comparison_unpaired() -> None:
    records = grid({"sum": 0.0, "pcgrad": 0.1, "mgda": -0.1}, 5)
    next(r for r in records if r["method"]["spec"] == "mgda")["pairing"]["dropout"]["qqp"] = "another mask"
    parsed = as_json(records)
    for comparison in parsed["comparisons"]:
        expected = (False, "Welch t") if comparison["method"] == "mgda" else (True, "paired t")
        assert (comparison["paired"], comparison["test"]) == expected
        assert (comparison["exact_p"] is None) == (comparison["method"] == "mgda")
    assert any("mgda and sum are not paired" in note for note in parsed["notes"])
    assert "unpaired" in render(build(records), "text")


def test_no_hashes_prove_no_pairing() -> None:
    records = [record(method, seed, pairing={}) for method in ("sum", "pcgrad") for seed in range(3)]
    assert {c["paired"] for c in as_json(records)["comparisons"]} == {False}


def test_methods_that_are_the_same_in_disguise_differ_by_nothing() -> None:
    records = grid({"sum": 0.0, "twin": 0.0}, 5)
    for cell in records:
        cell["scores"] = record("sum", cell["seed"])["scores"]
    parsed = as_json(records)
    for comparison in parsed["comparisons"]:
        assert (comparison["mean_difference"], comparison["ci_low"], comparison["ci_high"]) == (0.0, 0.0, 0.0)
        assert (comparison["p_adjusted"], comparison["verdict"]) == (1.0, "not separable")
    assert "equal" not in render(build(records), "text")
    assert {r["mean_rank"] for r in parsed["mean_rank"]} == {1.5}


def test_without_single_task_runs_there_is_no_delta_m_and_a_note(records: list[dict[str, Any]]) -> None:
    parsed = as_json([r for r in records if r["method"]["joint"]])
    assert parsed["delta_m"] == []
    assert any("no single-task baseline" in note for note in parsed["notes"])
