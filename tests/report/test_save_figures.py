"""Figures as files."""

from __future__ import annotations

from pathlib import Path

import pytest
from factory import grid
from galleries import draw_all

from mtlbench.errors import UsageError
from mtlbench.report.figures import Gallery, style
from mtlbench.report.figures.save import save_figures


def test_saved_figures_are_black_on_white(drawn: Gallery, tmp_path: Path) -> None:
    (path,) = save_figures(drawn.figures[:1], tmp_path / "out", ("svg",))
    text = path.read_text()
    assert style.PAPER in text and style.INK in text and "var(" not in text
    with pytest.raises(UsageError, match="svgg"):
        save_figures((), tmp_path, ("svgg",))
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        save_figures(drawn.figures[:1], tmp_path / "file", ("svg",))


def test_groups_are_saved_in_folders_of_their_own(tmp_path: Path) -> None:
    records = grid({"sum": 0.0, "mgda": 0.01}, 3)
    other = [{**cell, "group": "b" * 64, "recipe": {**cell["recipe"], "lr": 1e-3}} for cell in records]
    paths = save_figures(draw_all([*records, *other]).figures, tmp_path, ("svg",))
    assert {path.parent.name for path in paths} == {"1", "2"}
    assert len(paths) == len(set(paths))
