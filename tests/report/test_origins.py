"""Cautions on older records, code, versions, machines and recipes that differ between cells."""

from __future__ import annotations

import html

import pytest
from factory import BASE, failed, grid, record
from report_json import as_json

from mtlbench.report import FORMATS, render
from mtlbench.report.build import build
from mtlbench.report.latex import escape


def test_the_newest_record_of_a_cell_counts() -> None:
    old = record("sum", 0, scores={"sst5": {"accuracy": 0.1}}, started="2025-01-01T00:00:00Z", key="zzz")
    parsed = as_json([record("sum", 0), old])
    assert next(s["mean"] for s in parsed["summary"] if s["task"] == "sst5") == pytest.approx(BASE["sst5"], abs=0.1)
    assert any(note.startswith("1 older record") for note in parsed["notes"])


def test_other_code_and_other_torch_are_named() -> None:
    records = grid({"sum": 0.0, "pcgrad": 0.1}, 2)
    records[0]["method"]["source_sha256"] = "edited"
    records[1]["environment"]["versions"]["torch"] = "2.6.0"
    notes = as_json(records)["notes"]
    assert any(note.startswith("sum: its source code differs") for note in notes)
    assert any("2.13.0, 2.6.0" in note for note in notes)


def test_the_headline_cautions_about_different_versions() -> None:
    records = grid({"sum": 0.0, "pcgrad": 0.1}, 5)
    for cell in records:
        if cell["method"]["spec"] == "pcgrad":
            cell["environment"]["versions"]["transformers"] = "5.1"
    assert any(
        s.startswith("Caution: the cells ran on different versions of transformers")
        for s in as_json(records)["headline"]
    )


def test_every_format_cautions_about_different_machines_in_one_line() -> None:
    records = grid({"sum": 0.0, "pcgrad": 0.1}, 5)
    for cell in records:
        there = cell["method"]["spec"] == "pcgrad"
        cell["environment"]["machine"] = {
            "processor": "Xeon <i>" if there else "EPYC",
            "gpu": "H100" if there else None,
        }
        cell["environment"]["versions"]["torch"] = "2.6.0" if there else "2.13.0"
    line = (
        "the cells ran on different devices (H100, cpu), processors (EPYC, Xeon <i>), versions of torch (2.13.0, "
        "2.6.0): scores may differ in their last bits and are not paired to the bit; cost is not comparable"
    )
    assert as_json(records)["groups"][0]["cautions"] == [line]
    for format in FORMATS:
        text = html.unescape(" ".join(render(build(records), format, records=records).split()))
        assert (escape(line) if format == "latex" else line) in text, format
        assert format != "html" or "Xeon <i>" not in render(build(records), format)


def test_failed_cells_and_unknown_machines_cause_no_caution() -> None:
    records = grid({"sum": 0.0, "pcgrad": 0.1}, 2)
    elsewhere = failed("pcgrad", 2) | {"environment": {"versions": {}, "machine": {"processor": "Xeon"}}}
    assert as_json([*records, elsewhere])["groups"][0]["cautions"] == []


def test_different_recipes_in_one_group_are_cautioned() -> None:
    records = grid({"sum": 0.0, "pcgrad": 0.1}, 5)
    records[-1]["recipe"]["steps"] = 61
    assert any("differ in their recipe: steps" in s for s in as_json(records)["headline"])
