"""Reports in every format, complete and degenerate, as a reader and as a program see them."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
from factory import failed, grid, record
from report_json import DAMAGED, GAINS, as_json

from mtlbench.errors import UsageError
from mtlbench.report import FORMATS, render
from mtlbench.report.build import build
from mtlbench.report.latex import escape


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_shows_methods_failed_and_damaged(format: str, records: list[dict[str, Any]]) -> None:
    text = render(build(records, DAMAGED), format)
    for method in GAINS:
        assert (escape(method) if format == "latex" else method) in text
    if format != "csv":  # there: counts per method, below
        assert "step 3: loss of task sst5 is nan" in text
        assert (escape("results/ab/record.json") if format == "latex" else "results/ab/record.json") in text


def test_unknown_format_names_the_near_one(records: list[dict[str, Any]]) -> None:
    with pytest.raises(UsageError, match="did you mean markdown"):
        render(build(records), "markdwn")


def test_the_report_is_a_function_of_the_set_of_records(records: list[dict[str, Any]]) -> None:
    shuffled = records.copy()
    random.Random(0).shuffle(shuffled)
    first, second = build(records), build(shuffled)
    assert first == second
    assert [render(first, format) for format in FORMATS] == [render(second, format) for format in FORMATS]


def test_a_method_that_failed_everywhere_is_shown() -> None:
    records = [*grid({"sum": 0.0, "pcgrad": 0.1}, 2), failed("mgda", 0), failed("mgda", 1)]
    parsed = as_json(records)
    assert {s["n"] for s in parsed["summary"] if s["method"] == "mgda"} == {0}
    assert any("mgda is not compared" in note for note in parsed["notes"])
    assert re.search(r"^mgda .*0/2$", render(build(records), "text", width=80), re.MULTILINE)
    for format in FORMATS:
        assert render(build([failed("sum", 0)]), format)


def degenerate(kind: str) -> list[dict[str, Any]]:
    """Return records that support few statements."""
    records = grid({"stl": 0.0, "sum": 0.0, "pcgrad": 0.1}, 1 if kind == "one seed" else 5)
    match kind:
        case "one method":
            return [cell for cell in records if cell["method"]["spec"] == "sum"]
        case "all scores alike":
            return [{**cell, "scores": records[0]["scores"]} for cell in records]
        case "constant difference":
            shifted = {task: {m: v + 0.25 for m, v in of.items()} for task, of in records[0]["scores"].items()}
            return [
                {**o, "scores": shifted if o["method"]["spec"] == "pcgrad" else records[0]["scores"]} for o in records
            ]
        case "failed seeds":
            return [*(o for o in records if o["seed"] < 2), *(failed(m, s) for m in ("sum", "pcgrad") for s in (2, 3))]
        case "no seed in common":
            return [o for o in records if (o["method"]["spec"] == "sum") == (o["seed"] < 2)]
        case "unequal seeds":
            return [o for o in records if o["method"]["spec"] != "pcgrad" or o["seed"] < 4]
        case "two seeds":
            return [o for o in records if o["seed"] < 2]
        case "no baseline":
            return [o for o in records if o["method"]["spec"] != "sum"] + [{**record("sum"), "group": "b" * 64}]
    return records


@pytest.mark.parametrize("margin", [None, 0.01])
@pytest.mark.parametrize("kind", [
    "one seed", "two seeds", "one method", "all scores alike", "constant difference", "failed seeds",
    "no seed in common", "unequal seeds", "no baseline",
])  # fmt: skip
def test_degenerate_records_crash_nothing_and_print_no_nan(kind: str, margin: float | None) -> None:
    records = degenerate(kind)
    report = build(records, margin=margin)
    for format in FORMATS:
        words = re.split(r"[^a-z]+", render(report, format).lower())
        assert "nan" not in [word for word in words if "failed" not in kind]
        assert "equal" not in words
    assert all(group.headline for group in report.groups)
    if kind == "all scores alike":
        assert any("nothing varies, so its p is 1" in sentence for sentence in report.groups[0].headline)
