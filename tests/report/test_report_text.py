"""The report as text: width and colour."""

from __future__ import annotations

from typing import Any

import pytest
from factory import grid, record
from rich.cells import cell_len

from mtlbench.report import render
from mtlbench.report.build import build


@pytest.mark.parametrize("width", [80, 60, 120])
def test_text_fits_its_width_and_is_plain_without_color(width: int, records: list[dict[str, Any]]) -> None:
    long = [record("gradnorm[alpha=1.5,lr=0.025,over=last_shared_layer]", seed) for seed in range(5)]
    report = build([*records, *long], [("results/" + "x" * 200, "unreadable")])
    plain = render(report, "text", width=width)
    too_long = [line for line in plain.splitlines() if cell_len(line) > width]
    assert too_long == [f"- results/{'x' * 200}: unreadable"]  # a path stays whole, to be copied
    assert "\x1b" not in plain
    assert "\x1b[" in render(report, "text", width=width, color=True)


def test_text_with_many_tasks_is_split_by_columns_and_drops_none() -> None:
    records = grid({"sum": 0.0, "pcgrad": 0.1}, 2)
    for cell in records:
        for number in range(9):
            cell["tasks"][f"extra_task_{number}"] = cell["tasks"]["stsb"]
            cell["scores"][f"extra_task_{number}"] = cell["scores"]["stsb"]
    text = render(build(records), "text", width=80)
    assert max(map(cell_len, text.splitlines())) <= 80
    assert all(f"extra_task_{number}" in text for number in range(9))
