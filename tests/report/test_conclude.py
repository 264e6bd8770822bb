"""Conclusions within a family: primary test, Holm's adjustment, margins and simultaneous intervals."""

from __future__ import annotations

from typing import Any

import pytest
from factory import grid
from report_json import as_json

from mtlbench.errors import UsageError
from mtlbench.report import render
from mtlbench.report.build import build


def test_holm_runs_over_the_primary_metrics_of_all_methods_and_tasks(records: list[dict[str, Any]]) -> None:
    comparisons = as_json(records)["comparisons"]
    for family, size in {"primary": 12, "secondary": 12}.items():
        members = [c for c in comparisons if c["family"] == family]
        smallest = min(members, key=lambda c: c["p"])
        assert len(members) == size
        assert smallest["p_adjusted"] == pytest.approx(size * smallest["p"])


def test_the_test_changes_with_the_seeds_and_the_report_says_why() -> None:
    few, many = as_json(grid({"sum": 0.0, "pcgrad": 0.1}, 5)), as_json(grid({"sum": 0.0, "pcgrad": 0.1}, 10))
    assert {c["primary_test"] for c in few["comparisons"]} == {"paired t"}
    assert {c["primary_test"] for c in many["comparisons"]} == {"sign flip"}
    for comparison in many["comparisons"]:
        assert comparison["primary_p"] == comparison["exact_p"] == pytest.approx(2 / 2**10)
        assert comparison["p_adjusted"] == pytest.approx(3 * 2 / 2**10)  # three endpoints in either family
        assert comparison["verdict"] == "higher"
    text = " ".join(render(build(grid({"sum": 0.0, "pcgrad": 0.1}, 10)), "text", full=True).split())
    assert "Primary test: sign flip; with 10 seeds the exact test can decide" in text


def test_a_family_too_large_for_the_exact_floor_keeps_the_t_test() -> None:
    records = grid({"sum": 0.0, **{f"rlw[x={index}]": 0.01 for index in range(9)}}, 10)
    assert {c["primary_test"] for c in as_json(records)["comparisons"]} == {"paired t"}  # 27 × .00195 > .05


def test_within_a_margin_only_when_it_was_declared(records: list[dict[str, Any]]) -> None:
    cells = grid({"sum": 0.0, "pcgrad": 0.0}, 5)
    assert not any(c["within_margin"] or c["equivalence_p"] for c in as_json(cells)["comparisons"])
    declared = as_json(cells, margin=0.02)
    assert any("within the declared margin of ±0.02" in sentence for sentence in declared["headline"])
    assert {c["within_margin"] for c in declared["comparisons"] if c["family"] == "primary"} == {True}
    narrow = as_json(cells, margin=1e-6)
    assert any("is not shown to hold any" in sentence for sentence in narrow["headline"])
    assert as_json(grid({"sum": 0.0, "pcgrad": 0.0}, 3), margin=0.5)["comparisons"][0]["within_margin"] is False
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="must be positive"):
            build(cells, margin=wrong)


def test_simultaneous_intervals_hold_the_single_ones() -> None:
    for c in as_json(grid({"sum": 0.0, "pcgrad": 0.01, "mgda": 0.0}, 5))["comparisons"]:
        assert c["family_size"] == 6
        assert c["simultaneous_low"] < c["ci_low"] < c["ci_high"] < c["simultaneous_high"]
        assert c["detectable_in_family"] > c["minimum_detectable_effect"]
        assert c["wins"] + c["losses"] + c["ties"] == 5
        assert 0 < c["variance_ratio"] < 1
