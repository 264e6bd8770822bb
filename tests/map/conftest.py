"""A made map with a study of each kind, and its page, rendered once for all tests."""

from __future__ import annotations

from dataclasses import replace

import pytest
from page_maps import NASTY, World, made_map

from mtlbench.map.page.write import render
from mtlbench.map.result import MapResult


@pytest.fixture(scope="session")
def page_map() -> MapResult:
    """Two knobs, a slider too, and one method against single tasks; a setting is missing, a method has a bad name."""
    result = made_map(World(seeds=4), studies=["loss-noise", "width-relatedness", "rows-relatedness"])
    studies = dict(result.studies)
    cells = [
        replace(cell, columns=[replace(c, method=NASTY) if c.method == "famo" else c for c in cell.columns])
        for cell in studies["loss-noise"].cells[1:]
    ]
    studies["loss-noise"] = replace(studies["loss-noise"], cells=cells)
    shards = [{"seconds": {"forward": 30.0, "weights": 90.0}, "started": "2026-01-02T03:04:05+00:00"}]
    header = {"shards": shards, "environments": [{"versions": {"torch": "2.13"}}], "file": {"sha256": "abc123"}}
    return replace(result, studies=studies, headers={"loss-noise": header})


@pytest.fixture(scope="session")
def map_page(page_map: MapResult) -> str:
    """The page of this map."""
    return render(page_map)
