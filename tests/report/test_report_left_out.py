"""Reports on records whose side files were left out on purpose: one line for each group, and all that needs none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from factory import grid
from galleries import ALL, draw_all, full_grid
from left_out_files import without

from mtlbench.records.groups import collect
from mtlbench.report import render
from mtlbench.report.build import build
from mtlbench.report.figures import OVER_TRAINING
from mtlbench.report.figures.traces import read
from mtlbench.report.predictions import right_answers

WORDS = "left out when they were merged"


def test_figures_over_training_are_left_out_in_one_line(complete: list[dict[str, Any]]) -> None:
    slim = without(complete, "history", "predictions")
    result = draw_all(slim)
    assert len(result.figures) == len(ALL) - len(OVER_TRAINING)
    (omission,) = result.omitted
    assert omission.reason == f"All figures over training: {len(slim)} cells hold no histories, {WORDS}"
    page = render(build(slim), "html", records=slim, drawn=result)
    assert page.count(WORDS) == 1 and "names no history" not in page


def test_figures_show_the_cells_that_have_histories(complete: list[dict[str, Any]]) -> None:
    mixed = [*without(complete[:7], "history"), *complete[7:]]
    result = draw_all(mixed)
    assert {figure.name for figure in result.figures} == ALL
    assert [one.reason for one in result.omitted] == [
        f"Not in the figures over training: 7 cells hold no histories, {WORDS}"
    ]
    traces = read(collect(mixed)[0])
    assert len(traces.unread) == 1 and not traces.left_out


def test_damaged_histories_are_still_named_one_by_one(tmp_path: Any) -> None:
    records = full_grid(tmp_path)
    (tmp_path / "8.history.jsonl").write_text("[1]\n")
    unread = read(collect([*without(records[:2], "history"), *records[2:]])[0]).unread
    assert len(unread) == 2 and "2 cells hold no histories" in unread[0] and "is damaged" in unread[1]


@pytest.mark.parametrize("format", ["text", "markdown", "latex", "json", "csv"])
def test_other_formats_say_the_same_of_slim_records(format: str) -> None:
    records = grid({"stl": 0.01, "sum": 0.0, "pcgrad": 0.01}, 3)
    assert render(build(without(records, "history", "predictions")), format) == render(build(records), format)


@pytest.mark.parametrize("split", ["dev", "test"])
def test_intervals_over_rows_need_predictions(split: str) -> None:
    records = grid({"sum": 0.0, "pcgrad": 0.01}, 5)
    for one in records:
        one["test_scores"] = one["scores"]
        for task in one["tasks"].values():
            task["test"] = {"rows": 9, "floors": {}}
    (group,) = build(without(records, "predictions"), examples=right_answers, split=split).groups
    assert [note for note in group.notes if "rows" in note] == [
        f"10 cells hold no predictions, {WORDS}, so no interval over rows"
    ]


def test_methods_whose_cells_have_predictions_keep_their_intervals() -> None:
    records = grid({"sum": 0.0, "pcgrad": 0.01, "mgda": 0.02}, 3)
    for one in records:
        for task in ("sst5", "qqp"):
            one["scores"][task]["accuracy"] = round(one["scores"][task]["accuracy"] * 200) / 200
    mixed = [*records[:6], *without(records[6:], "predictions")]

    def by_row(cell: Any) -> dict[str, Any]:
        order = np.random.default_rng(cell["seed"]).permutation(200)
        right = {t: (order < round(cell["scores"][t]["accuracy"] * 200)).astype(float) for t in ("sst5", "qqp")}
        return {} if cell.get("left_out") else right

    (group,) = build(mixed, examples=by_row).groups
    assert {one.method for one in group.example_intervals} == {"pcgrad"}
    assert f"3 cells hold no predictions, {WORDS}: no interval over rows for their methods" in group.notes
