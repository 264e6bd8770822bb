"""Building a report: groups, scores, floors, notes and errors."""

from __future__ import annotations

import json
from typing import Any

import pytest
from factory import grid, record
from report_json import DAMAGED, as_json

from mtlbench.errors import UsageError
from mtlbench.report import render
from mtlbench.report.build import build


def test_a_model_that_lands_on_its_floor_is_not_above_it() -> None:
    records = [record("sum", seed, scores={"sst5": {"accuracy": 0.253}}) for seed in range(2)]
    result = next(s for s in as_json(records)["summary"] if (s["task"], s["metric"]) == ("sst5", "accuracy"))
    assert (result["below_floor"], result["seeds_below_floor"], result["floor_name"]) == (True, 2, "majority class")


def test_one_collapsed_seed_does_not_hide_in_the_mean() -> None:
    records = grid({"sum": 0.0}, 5)
    records[2]["scores"]["qqp"]["accuracy"] = 0.5
    assert any("sum: 1 of 5 seeds not above the floor of qqp" in note for note in as_json(records)["notes"])


def test_a_single_seed_has_no_spread() -> None:
    parsed = as_json(grid({"stl": 0.0, "sum": 0.0, "pcgrad": 0.1}, 1))
    assert {s["std"] for s in parsed["summary"]} == {None}
    assert {c["p"] for c in parsed["comparisons"]} == {None}
    assert "±" not in render(build(grid({"sum": 0.0}, 1)), "text").split("Mean ±")[0]


def test_scores_that_are_not_numbers_count_as_missing() -> None:
    records = grid({"sum": 0.0, "pcgrad": 0.1}, 4)
    records[0]["scores"]["stsb"]["pearson"] = float("nan")
    records[1]["scores"]["stsb"]["pearson"] = None
    parsed = as_json(records)
    result = next(s for s in parsed["summary"] if (s["method"], s["metric"]) == ("sum", "pearson"))
    assert result["n"] == 2
    assert next(c for c in parsed["comparisons"] if c["metric"] == "pearson")["n"] == 2


def test_baseline_by_bare_name_and_unknown_baseline(records: list[dict[str, Any]]) -> None:
    assert {c["baseline"] for c in as_json(records, baseline="cagrad")["comparisons"]} == {"cagrad[c=0.4]"}
    with pytest.raises(UsageError, match="unknown baseline 'pcgard'; did you mean pcgrad"):
        build(records, baseline="pcgard")
    with pytest.raises(UsageError, match="known: mgda, pcgrad"):
        build(grid({"pcgrad": 0.0, "mgda": 0.0}, 2))


def test_a_lone_method_needs_no_baseline() -> None:
    parsed = as_json(grid({"pcgrad": 0.0}, 2))
    assert parsed["comparisons"] == []
    assert any("only one method, pcgrad" in note for note in parsed["notes"])


def test_an_error_without_records_names_the_command_to_run() -> None:
    with pytest.raises(UsageError, match=r"no records.*1 damaged.*mtlbench run"):
        build([], DAMAGED)


def test_groups_are_separate_and_their_headings_name_the_difference() -> None:
    longer = [
        record(method, seed, group="b" * 64, started="2026-02-01T00:00:00Z")
        for method in ("sum", "pcgrad")
        for seed in range(2)
    ]
    for cell in longer:
        cell["recipe"]["steps"] = 200
    records = [*grid({"sum": 0.0, "pcgrad": 0.1, "mgda": 0.0}, 2), *longer]
    parsed = as_json(records)
    assert [g["heading"] for g in parsed["groups"]] == ["quick (steps=60)", "quick (steps=200)"]
    assert {s["n"] for s in parsed["summary"]} == {2}
    assert parsed["missing"] == []  # mgda was never asked for at 200 steps
    assert "quick (steps=200)" in render(build(records), "text")
    assert any("mgda has no cells here" in note for note in as_json(records, baseline="mgda")["notes"])


def test_notes_report_truncated_texts() -> None:
    cut = {task: {"tokens": 64, "train": 0, "dev": 0} for task in ("sst5", "qqp", "stsb")}
    cut |= {"stsb": {"tokens": 64, "train": 12, "dev": 0}, "qqp": {"tokens": 64, "train": 7, "dev": 3}}
    text = render(build([{**cell, "cut": cut} for cell in grid({"sum": 0.0, "mgda": 0.01}, 4)]), "json")
    assert [note for note in json.loads(text)["groups"][0]["notes"] if "cut" in note] == [
        "7 of 8544 training texts and 3 of 1101 development texts of qqp were longer than 64 tokens and were cut",
        "12 of 8544 training texts of stsb were longer than 64 tokens and were cut",
    ]


@pytest.mark.parametrize("absent", [{}, {"cut": None}, {"cut": {}}])
def test_records_without_counts_of_truncated_texts_have_no_note(absent: dict[str, Any]) -> None:
    group = build([{**cell, **absent} for cell in grid({"sum": 0.0, "mgda": 0.01}, 4)]).groups[0]
    assert not [note for note in group.notes if "cut" in note]
