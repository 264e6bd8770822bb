"""The verdict: short sentences that stand alone, and what the terminal shows after them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from factory import failed, grid, record
from rich.cells import cell_len

from mtlbench.report import render
from mtlbench.report.build import build
from mtlbench.report.text import MORE
from mtlbench.report.verdict import verdict


def of(records: list[dict[str, Any]]) -> tuple[str, ...]:
    return verdict(build(records).groups[0])


def test_the_verdict_names_what_is_separable_and_counts_the_rest() -> None:
    first, overall, missed = of(grid({"stl": 0.1, "sum": 0.0, "pcgrad": 0.0, "cagrad": 0.0, "mgda": -0.2}, 5))
    assert re.fullmatch(
        r"With 5 seeds, mgda is lower than sum on every task \(-0.20\d to -0.\d+\); stl is higher on every task "
        r"\(\+0.\d+ to \+0.\d+\)\. The other 2 methods are not separable from it on any task, which does not mean "
        r"alike\.",
        first,
    )
    assert overall.startswith("Over all tasks (Δm against sum): mgda is lower (-")
    assert missed.startswith("A true difference under ") and "power below 80 %" in missed


def test_no_method_is_called_equal() -> None:
    (first, *_) = of(grid({"sum": 0.0, "pcgrad": 0.0, "mgda": 0.0}, 5))
    assert first == (
        "With 5 seeds, none of 2 methods is separable from sum on any task, which does not mean that they are alike."
    )


def test_many_separable_methods_are_counted() -> None:
    gains = {"sum": 0.0, **{f"m{number}": 0.2 for number in range(8)}, "worse": -0.2}
    (first, *_) = of(grid(gains, 5))
    assert "8 methods are higher than sum on some task (" in first and " and 5 more)" in first
    assert "1 method is lower than sum on some task (worse)" in first


@pytest.mark.parametrize(
    ("records", "words"),
    [
        (grid({"sum": 0.0, "pcgrad": 0.5}, 3), "3 seeds cannot show a difference from sum"),
        (grid({"sum": 0.0}, 3), "Only sum was trained, so nothing is compared."),
        ([record("sum", 0), record("mgda", 1), failed("sum", 1), failed("mgda", 0)], "from sum: read the intervals"),
        ([record("sum", 0), failed("mgda", 0)], "No other method shares finished cells with sum"),
    ],
)
def test_a_verdict_without_a_claim_says_why(records: list[dict[str, Any]], words: str) -> None:
    assert words in of(records)[0]


def test_gaps_and_cautions_are_part_of_the_verdict(records: list[dict[str, Any]]) -> None:
    assert of(records)[-1] == "1 cell failed and 1 cell is missing."
    other = [{**r, "environment": {"versions": {"torch": "9"}}} if r["seed"] == 0 else r for r in records]
    assert "Caution: the cells differ in more than the method" in of(other)[-1]


def test_a_terminal_begins_with_the_verdict_and_then_shows_the_table(records: list[dict[str, Any]]) -> None:
    report = build(records)
    lines = render(report, "text", width=400).splitlines()
    end = lines.index("Scores")
    said = verdict(report.groups[0])
    assert lines[2 : 2 + len(said)] == list(said) and lines[2 + len(said) : end] == [""]
    assert "Recipe:" not in "\n".join(lines[:end])


def test_a_terminal_hides_what_is_rarely_needed_until_asked(records: list[dict[str, Any]]) -> None:
    report = build(records)
    short, full = (render(report, "text", full=full, width=80) for full in (False, True))
    for words in ("macro_f1", "What these seeds can show", "Friedman", "All comparisons in words"):
        assert words in full and words not in short, words
    assert short.endswith(f"{MORE}\n") and MORE not in full and cell_len(MORE) <= 80
    for words in ("Difference from sum", "Failed cells", "Recipe:", "▼"):
        assert words in short and words in full, words
