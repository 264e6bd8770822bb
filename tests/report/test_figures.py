"""All figures of a group: complete, degenerate, and the same bytes for the same records."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from factory import failed, grid, record
from galleries import ALL, draw_all
from histories import STEPS, with_histories

from mtlbench.report.figures import Gallery, style, svg
from mtlbench.report.figures.save import save_figures

PAPER_S = "|".join((style.INK, style.QUIET, style.LINE, style.PAPER))


NASTY = "<script>&" + "n" * 51


def test_a_complete_grid_gives_every_figure(drawn: Gallery) -> None:
    assert {figure.name for figure in drawn.figures} == ALL
    assert drawn.figures[0].name == "differences"  # the one to look at first
    assert drawn.omitted == ()
    for figure in drawn.figures:
        assert re.search(r"\d", figure.description), figure.name


def degenerate(kind: str, folder: Path) -> list[dict[str, Any]]:
    """Return incomplete or unusual records."""
    match kind:
        case "one seed":
            return with_histories(grid({"stl": 0.0, "sum": 0.0, "mgda": 0.01}, 1), folder)
        case "one method":
            return with_histories(grid({"sum": 0.0}, 3), folder)
        case "one cell, failed":
            return [failed("sum", 0)]
        case "one task":
            records = with_histories(grid({"stl": 0.0, "sum": 0.0, "mgda": 0.01}, 3), folder)
            for cell in records:
                cell["tasks"] = {"sst5": cell["tasks"]["sst5"]}
                cell["recipe"] = {**cell["recipe"], "tasks": ["sst5"]}
            return records
        case "equal scores":
            same = {task: {"accuracy": 0.5, "macro_f1": 0.5} for task in ("sst5", "qqp")}
            same["stsb"] = {"pearson": 0.5, "spearman": 0.5}
            methods = ("stl", "sum", "mgda", "pcgrad")
            return with_histories([record(m, s, scores=same) for m in methods for s in range(5)], folder)
        case "no history":
            return grid({"stl": 0.0, "sum": 0.0, "mgda": 0.01, "pcgrad": 0.02}, 5)
        case "many methods, nasty names, numbers that are not finite":
            names = {f"method-{i}[parameter=0.{i}]": 0.001 * i for i in range(6)} | {NASTY: 0.01, "$x_1$ 漢字": 0.02}
            records = with_histories(grid({"stl": 0.0, "sum": 0.0, **names}, 5), folder)
            text = (folder / "6.history.jsonl").read_text()  # of the sum
            spoiled, count = re.subn(r'"(sst5|sst5\|qqp)": [\d.e-]+', r'"\1": NaN', text)
            assert count > STEPS
            (folder / "6.history.jsonl").write_text(spoiled)
            records[6]["files"]["history"]["sha256"] = hashlib.sha256(spoiled.encode()).hexdigest()
            return records
    raise AssertionError(kind)


KINDS = [
    "one seed", "one method", "one cell, failed", "one task", "equal scores", "no history",
    "many methods, nasty names, numbers that are not finite",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_degenerate_groups_do_not_crash_and_print_no_nan(kind: str, tmp_path: Path) -> None:
    gallery = draw_all(degenerate(kind, tmp_path))
    check(gallery)
    names = {figure.name for figure in gallery.figures}
    assert len(names) == len(gallery.figures)
    assert bool(gallery.omitted) == (not kind.startswith(("many methods", "equal scores")))
    if kind == "no history":
        assert names == {"differences", "trade-offs", "cost", "ranks"}
    if kind.startswith("many methods"):
        figure = next(figure for figure in gallery.figures if figure.name == "cost")
        assert NASTY in figure.description  # whole there, short in the drawing
        assert "&lt;script&gt;&amp;nnn…" in figure.svg
        assert "$x_1$ 漢字" in figure.svg  # neither mathematics nor lost


def check(gallery: Gallery) -> None:
    """Draw all figures, and check that they contain nothing forbidden."""
    all_ids: set[str] = set()
    for number, figure in enumerate(gallery.figures):
        text = svg.inline(figure, f"f{number}")
        root = ElementTree.fromstring(text)
        assert not re.search(r"(?<![a-z])(nan|inf)(?![a-z])", text, re.IGNORECASE), figure.name
        assert "<script" not in text and "<style" not in text and "<metadata" not in text
        ids = [element.get("id") for element in root.iter() if element.get("id")]
        assert len(ids) == len(set(ids)) and not all_ids & set(ids)
        all_ids |= {str(identifier) for identifier in ids}
        used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
        assert used <= set(ids)
        assert root.get("role") == "img"
        assert [child.text for child in root][:2] == [figure.title, figure.description]
        assert not re.search(PAPER_S, text)  # the page's colours are in their place
    for omission in gallery.omitted:
        assert "nan" not in omission.reason


def test_the_same_records_give_the_same_bytes(
    complete: list[dict[str, Any]], drawn: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mtlbench.report.figures.figure.DPI", 50)
    first, again = drawn, draw_all(list(reversed(complete)))
    assert [figure.description for figure in first.figures] == [figure.description for figure in again.figures]
    for figure, other in zip(first.figures, again.figures, strict=True):
        if figure.name not in ("differences", "trade-offs", "weights", "cosines"):
            continue  # drawn like one of these
        assert svg.inline(figure, "f") == svg.inline(other, "f"), figure.name
    few = first.figures[2:3]
    a = save_figures(few, tmp_path / "a")
    b = save_figures(again.figures[2:3], tmp_path / "b")
    assert [path.name for path in a] == [f"{f.name}.{ending}" for f in few for ending in ("svg", "png", "pdf")]
    assert [path.read_bytes() for path in a] == [path.read_bytes() for path in b]
