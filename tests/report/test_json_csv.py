"""The JSON and CSV reports."""

from __future__ import annotations

import csv
import io
from typing import Any

from report_json import DAMAGED, as_json

from mtlbench.report import render
from mtlbench.report.build import build


def test_json_has_the_documented_form(records: list[dict[str, Any]]) -> None:
    parsed = as_json(records)
    forms = {
        "summary": "method task metric n mean std",
        "cost": "method seconds_per_step peak_memory_bytes",
        "comparisons": "task metric method baseline n mean_difference ci_low ci_high p p_adjusted test exact_p "
        "exact_floor paired rho",
        "delta_m": "method n mean std ci_low ci_high",
        "mean_rank": "method mean_rank",
        "missing": "method seed",
        "failed": "method seed message",
    }
    for name, fields in forms.items():
        assert parsed[name], name
        for item in parsed[name]:
            assert {"suite", "group", *fields.split()} <= item.keys(), name
    assert parsed["damaged"] == [{"path": "results/ab/record.json", "reason": "not JSON: line 1"}]
    assert len(parsed["summary"]) == 5 * 6  # methods × (tasks × metrics)
    assert len(parsed["comparisons"]) == 4 * 6
    assert [(m["method"], m["seed"]) for m in parsed["missing"]] == [("pcgrad", 4)]
    assert [(m["method"], m["seed"]) for m in parsed["failed"]] == [("pcgrad", 3)]


def test_csv_is_one_tidy_table(records: list[dict[str, Any]]) -> None:
    rows = list(csv.DictReader(io.StringIO(render(build(records, DAMAGED), "csv"))))
    assert len(rows) == 30
    pcgrad = next(row for row in rows if row["method"] == "pcgrad" and row["task"] == "qqp")
    assert (pcgrad["n"], pcgrad["failed"], pcgrad["missing"], pcgrad["pairs"]) == ("3", "1", "1", "3")
    assert all(row["mean_difference"] == "" for row in rows if row["method"] == "sum")
    assert all("nan" not in row.values() for row in rows)
