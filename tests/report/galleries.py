"""Figures and their context from made-up records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from factory import grid
from histories import with_histories

from mtlbench.records.groups import collect
from mtlbench.report import gallery
from mtlbench.report.build import build
from mtlbench.report.figures import Gallery
from mtlbench.report.figures.context import Context
from mtlbench.report.figures.traces import read

ALL = {
    "differences", "trade-offs", "cost", "ranks", "scores-by-step", "scores-by-time", "losses", "cosines",
    "norm-ratios", "weights",
}  # fmt: skip


def draw_all(records: list[dict[str, Any]]) -> Gallery:
    """Return all figures of these records."""
    return gallery(build(records), records)


def context(records: list[dict[str, Any]]) -> Context:
    """Return the context of figures of these records, which form one group."""
    (group,) = build(records).groups
    (cells,) = collect(records)
    return Context(group, cells, read(cells))


def full_grid(folder: Path) -> list[dict[str, Any]]:
    """Return a grid that gives every figure; its histories lie in the folder."""
    return with_histories(grid({"stl": 0.02, "sum": 0.0, "mgda": 0.01, "pcgrad": -0.01}, 5), folder)
