"""Ranks of the joint methods, over all scores and by one number per seed."""

from __future__ import annotations

from typing import Any

import pytest
from factory import grid
from report_json import as_json

from mtlbench.report import render
from mtlbench.report.build import build


def test_delta_m_and_rank_leave_the_single_task_baseline_out(records: list[dict[str, Any]]) -> None:
    parsed = as_json(records)
    assert "stl" not in {d["method"] for d in parsed["delta_m"]} | {r["method"] for r in parsed["mean_rank"]}
    ranks = {r["method"]: r["mean_rank"] for r in parsed["mean_rank"]}
    assert ranks["cagrad[c=0.4]"] == 1.0
    assert ranks["mgda"] == 4.0
    assert sum(ranks.values()) == pytest.approx(10)
    assert {r["seeds"] for r in parsed["mean_rank"]} == {3}  # the seeds that pcgrad finished too
    assert any(note.startswith("ranks are over 3 of ") for note in parsed["notes"])
    assert parsed["groups"][0]["methods"][:2] == ["stl", "sum"]


def test_the_ranking_is_over_seeds_and_names_how_p_was_counted(records: list[dict[str, Any]]) -> None:
    result = as_json(records)["rankings"]
    assert len(result) == 1
    assert (result[0]["seeds"], result[0]["score"], result[0]["exact"]) == (3, "Δm", True)
    assert result[0]["resolution"] == pytest.approx(1 / 24**2)
    assert result[0]["p"] >= result[0]["resolution"] - 1e-12
    assert sum(result[0]["mean_ranks"]) == pytest.approx(10)
    joint = as_json([r for r in records if r["method"]["joint"]])["rankings"]
    assert joint[0]["score"] == "mean of the tasks' primary metrics"
    assert as_json(grid({"sum": 0.0, "pcgrad": 0.1}, 5))["rankings"] == []  # two methods: the paired test is there


def test_every_pair_is_compared_on_what_is_ranked() -> None:
    result = build(grid({"sum": 0.0, "pcgrad": 0.0, "cagrad": 0.05, "mgda": -0.05}, 5)).groups[0].pairs
    pairs = {frozenset((p.method, p.baseline)): p for p in result}
    assert len(pairs) == len(result) == 6
    assert {p.family_size for p in result} == {6}
    assert pairs[frozenset(("cagrad", "mgda"))].verdict == "lower"  # mgda, the later name, is the candidate
    assert pairs[frozenset(("sum", "pcgrad"))].verdict == "not separable"
    text = " ".join(render(build(grid({"sum": 0.0, "pcgrad": 0.0, "cagrad": 0.1}, 5)), "text", full=True).split())
    assert "2 of 3 pairs are separable on it" in text
    text = " ".join(render(build(grid({"sum": 0.0, "pcgrad": 0.0, "cagrad": 0.1}, 3)), "text", full=True).split())
    assert "no pair is told apart" in text
