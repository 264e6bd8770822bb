"""Histories as tidy tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from galleries import ALL, draw_all, full_grid
from histories import EVERY, STEPS

from mtlbench.records.groups import collect
from mtlbench.report.figures.traces import read


def test_histories_become_tidy_tables(complete: list[dict[str, Any]]) -> None:
    traces = read(collect(complete)[0])
    assert len(traces.steps) == 20 * STEPS * 3
    assert traces.steps["norm"].notna().sum() == 20 * (STEPS // EVERY) * 3
    assert len(traces.cosines) == 15 * (STEPS // EVERY) * 3  # not the single-task runs
    assert len(traces.evaluations) == 20 * 2 * 6
    assert traces.unread == ()


def test_unreadable_histories_are_left_out_and_named(tmp_path: Path) -> None:
    complete = full_grid(tmp_path)
    (tmp_path / "0.history.jsonl").unlink()
    (tmp_path / "6.history.jsonl").write_text('{"step": 1, "losses": {"sst5"')
    (tmp_path / "7.history.jsonl").write_bytes(b"\xff\xfe")
    (tmp_path / "8.history.jsonl").write_text("[1]\n")
    complete[9]["files"] = {}
    unread = read(collect(complete)[0]).unread
    assert len(unread) == 5
    assert any("stl, seed 0: its history could not be read" in line for line in unread)
    assert any("sum, seed 4: its record names no history" in line for line in unread)
    result = draw_all(complete)
    assert {figure.name for figure in result.figures} == ALL
    assert len(result.omitted) == 5
