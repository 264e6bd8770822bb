"""docs/python.md: every block runs, and what it says of frames and functions is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from problem_runs import write_suite

import mtlbench
from mtlbench.api import frames
from mtlbench.report.figures import Gallery

PAGE = (Path(__file__).parents[2] / "docs" / "python.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
SHORTER = {
    **{"steps=200": "steps=6", "steps=100": "steps=4", "steps=20": "steps=3", "losses.step > 150": "losses.step > 1"},
    **{"seeds=5": "seeds=2", "seeds=3": "seeds=1", "trials=4": "trials=2", '"digits"': '"small.toml"'},
}
"""Less work than the page proposes."""


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The names that the page's blocks define, after all of them have run in an empty folder."""
    names: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("page"))
        patch.setattr("mtlbench.report.gallery", lambda report, records: Gallery((), ()))  # drawing takes seconds
        write_suite(Path.cwd(), "digits[rows=200,dev_rows=100]", "small")
        for block in BLOCKS:
            for long, short in SHORTER.items():
                block = block.replace(long, short)
            exec(compile(block, "docs/python.md", "exec"), names)
        names["written"] = {path.name for path in Path.cwd().iterdir()}
    return names


def test_every_block_runs(names: dict[str, Any]) -> None:
    assert names["written"] >= {"results", "report.html", "all-results", "histories", "mine.py"}
    assert set(names["accuracy"].method) == {"stl", "sum", "pcgrad"} and len(names["losses"]) > 0
    assert set(names["comparisons"].family) >= {"primary", "delta_m"} and names["comparisons"].margin.notna().any()
    assert names["tuned"].complete and names["best"].complete and names["mine"].complete
    assert set(names["costs"].method) == {"plain sum", "pcgrad", "inverse"} and len(names["merged"].copied) > 6


def test_the_table_names_the_columns_of_every_frame() -> None:
    rows = re.findall(r"^\| `results\.(\w+)` \| [^|]+ \| ([^|]+) \|$", PAGE, re.MULTILINE)
    columns = {name: set(re.split(r", | for |; ", text)) for name, text in rows}
    assert columns.pop("comparisons") == {"see [below](#compare-methods)"}
    known = {"scores": frames.SCORES, "cells": frames.CELLS, "history": frames.COLUMNS, "findings": frames.FINDINGS}
    assert {name: set(expected) - set(frames.CELL) for name, expected in known.items()} == {
        name: described - {"seed"} for name, described in columns.items()
    }


def test_the_page_names_every_function() -> None:
    named = set(re.findall(r"`(\w+)`", PAGE.split("\n- [Run")[0]))
    functions = {name for name, home in mtlbench._HOMES.items() if home.startswith("api.")}
    assert functions - {"Results", "load_results"} <= named and "load_results" in PAGE
