"""The page is self-contained, escapes user input, and has the same text with and without figures."""

from __future__ import annotations

import html
import html.parser
import re
from typing import Any

import pytest
from factory import NASTY, grid, record

from mtlbench.diagnose.text import by_group
from mtlbench.report import render
from mtlbench.report.build import build
from mtlbench.report.figures import Gallery, style
from mtlbench.report.page.parts import parts

VOID = ("meta", "img", "br", "input")


class Page(html.parser.HTMLParser):
    """Parser of a page that collects tags, identifiers and text, and checks that tags are nested correctly."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: dict[str, int] = {}
        self.ids: list[str] = []
        self.references: list[str] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.note(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.note(tag, attrs)

    def note(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] = self.tags.get(tag, 0) + 1
        for name, value in attrs:
            assert not name.startswith("on")
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "xlink:href", "src"):
                self.references.append(value or "")
            if name in ("aria-labelledby", "aria-describedby"):
                self.references += [f"#{identifier}" for identifier in (value or "").split()]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text += data


def check(text: str) -> Page:
    """Check properties common to all pages, and return the parsed page."""
    page = Page(text)
    assert text.count("<script") == page.tags["script"] == 1  # the page's own
    assert "<img" not in text
    assert "prefers-color-scheme: dark" in text and "@media print" in text and 'name="viewport"' in text
    assert not re.search(r"<link|@import|url\((?!#)|https?://(?!www\.w3\.org/)", text)  # nothing is fetched
    assert len(page.ids) == len(set(page.ids))
    assert {reference.removeprefix("#") for reference in page.references} <= set(page.ids)
    assert all(reference.startswith("#") for reference in page.references)
    assert not re.search(r"\b(nan|inf|None)\b", page.text)
    return page


def test_the_page_without_records_has_no_figures(page_records: list[dict[str, Any]]) -> None:
    text = render(build(page_records), "html")
    page = check(text)
    assert "&lt;script&gt;" in text
    assert "figure" not in page.tags and 'class="seed" data-seed' not in text
    assert page.tags["caption"] == page.tags["table"] >= 5  # three tables, and two with the other metrics


def test_the_page_has_figures_with_words_for_those_who_cannot_see_them(page_text: str) -> None:
    text, page = page_text, check(page_text)
    figures = page.tags["figure"]
    assert figures == page.tags["figcaption"] == page.tags["desc"] == text.count('role="img" aria-labelledby') == 8
    assert (
        text.index('class="lead"') < text.index('class="cards"') < text.index('class="forest"') < text.index("<figure")
    )
    assert "Critical difference diagram: it takes 5 seeds" in page.text
    assert "var(--line)" in text and "currentColor" in text and style.INK not in text


def test_user_input_is_escaped(page_text: str) -> None:
    assert NASTY not in page_text
    assert "&lt;img src=x" in page_text


def test_the_page_has_configuration_software_and_every_cell(page_text: str) -> None:
    words = " ".join(check(page_text).text.split())
    for fact in (
        "batch_size",
        "2.13.0",
        "Configuration and software",
        "source of <",
        "sum, seed 7",
        "Cells",
        "failed",
    ):
        assert fact in words, fact
    assert f"{NASTY}, seed 7" in words  # missing


def test_the_page_is_the_same_twice(page_records: list[dict[str, Any]], page_drawn: Gallery, page_text: str) -> None:
    """test_figures.py checks the same for drawings."""
    again = list(reversed(page_records))
    assert render(build(again), "html", records=again, drawn=page_drawn, findings=by_group(again)) == page_text


def test_figures_are_under_the_heading_of_their_group() -> None:
    records = grid({"sum": 0.0, "mgda": 0.01}, 2)
    other = [{**cell, "group": "b" * 64, "recipe": {**cell["recipe"], "lr": 1e-3}} for cell in records]
    text = render(build([*records, *other]), "html", records=[*records, *other])
    page = check(text)
    assert page.tags["nav"] == 1
    places = [found.start() for found in re.finditer("<h2", text)]
    figures = [found.start() for found in re.finditer("<figure", text)]
    assert len(places) == 2 and len(figures) == 4
    assert sum(places[0] < place < places[1] for place in figures) == 2


def test_settings_that_differ_between_cells_are_all_listed() -> None:
    versions = {"versions": {"torch": "2.14.0"}, "git": None, "machine": {}}
    records = [record("sum", 0), record("sum", 1, environment=versions)]
    assert "2.13.0, 2.14.0" in render(build(records), "html", records=records)


def test_old_records_without_environment_or_encoder_make_a_page() -> None:
    records = grid({"sum": 0.0, "mgda": 0.01}, 2)
    for cell in records:
        for name in ("environment", "encoder", "pairing", "conflict"):
            cell[name] = None
    check(render(build(records), "html", records=records))


def test_the_contents_have_short_names_and_the_list_of_groups_what_is_their_own() -> None:
    records = grid({"sum": 0.0, "mgda": 0.01}, 2)
    other = [{**c, "group": "b" * 64, "suite": "long", "recipe": {**c["recipe"], "steps": 90}} for c in records]
    third = [{**c, "group": "c" * 64, "recipe": {**c["recipe"], "lr": 1e-3}} for c in records]
    text = render(build([*records, *other, *third]), "html")
    names = re.findall(r'<li><a href="#group-\d">([^<]*)</a>', text)
    assert names == ["quick (lr=5e-05)", "long", "quick (lr=0.001)"]
    assert text.index('class="lead"') < text.index('class="words glance"')
    glance = text[text.index('class="words glance"') : text.index("</table>")]
    assert re.findall("<small>([^<]*)</small>", glance) == ["steps=90", "lr=0.001"]


def test_damaged_records_are_listed() -> None:
    text = render(build(grid({"sum": 0.0}, 2), [("a/record.json", "cut off")]), "html")
    assert "a/record.json: cut off" in check(text).text


def test_figures_and_seeds_of_the_test_split_have_its_scores() -> None:
    records = grid({"sum": 0.0, "mgda": 0.01}, 5)
    for cell in records:
        shift = 0.1 if cell["method"]["spec"] == "mgda" else 0.0
        cell["test_scores"] = {t: {m: v + shift for m, v in of.items()} for t, of in cell["scores"].items()}
        for task in cell["tasks"].values():
            task["test"] = {"rows": 9, "floors": task["floors"]}
    report = build(records, split="test")
    (panel,) = (p for p in parts(report, records, None, {})[0].forest.panels if p.label == "stsb pearson")
    (row,) = panel.rows
    values = [float(value) for value in row.by_seed.values()]
    assert sum(values) / 5 == pytest.approx(float(row.estimate), abs=1e-3) and min(values) > 0.08
