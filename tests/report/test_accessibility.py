"""What axe-core would check of the page and a parser can: landmarks, headings, names of controls, tables, language."""

from __future__ import annotations

import html.parser
import itertools
from dataclasses import dataclass, field
from typing import Any

import pytest
from factory import grid

from mtlbench.report import render
from mtlbench.report.build import build

VOID = ("meta", "input", "br", "img")


@dataclass
class Node:
    """An element with its text."""

    tag: str
    attributes: dict[str, str]
    parent: Node | None
    children: list[Node] = field(default_factory=list)
    words: str = ""

    def all(self, *tags: str) -> list[Node]:
        below = [node for child in self.children for node in child.all(*tags)]
        return [*([self] if self.tag in tags else []), *below]

    @property
    def text(self) -> str:
        return self.words + "".join(child.text for child in self.children)

    @property
    def hidden(self) -> bool:
        own = "hidden" in self.attributes or self.attributes.get("aria-hidden") == "true"
        return own or (self.parent is not None and self.parent.hidden)

    def inside(self, *tags: str) -> bool:
        return self.parent is not None and (self.parent.tag in tags or self.parent.inside(*tags))


class Tree(html.parser.HTMLParser):
    """Parser of a page to nodes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.root = self.here = Node("root", {}, None)
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, {name: value or "" for name, value in attrs}, self.here)
        self.here.children.append(node)
        if tag not in VOID:
            self.here = node

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.here.children.append(Node(tag, {name: value or "" for name, value in attrs}, self.here))

    def handle_endtag(self, tag: str) -> None:
        assert self.here.tag == tag and self.here.parent is not None
        self.here = self.here.parent

    def handle_data(self, data: str) -> None:
        self.here.words += data


@pytest.fixture(params=["one group with figures", "several groups"])
def page(request: pytest.FixtureRequest) -> Node:
    if request.param == "one group with figures":
        return Tree(request.getfixturevalue("page_text")).root
    records = grid({"stl": 0.0, "sum": 0.0, "mgda": 0.1}, 5)
    other: list[dict[str, Any]] = [
        {**r, "group": "b" * 64, "recipe": {**r["recipe"], "lr": 0.1}} for r in records if r["method"]["spec"] != "stl"
    ]
    return Tree(render(build([*records, *other], [("a", "b")]), "html")).root


def test_the_page_names_its_language_and_its_title(page: Node) -> None:
    (root,), (title, *_) = page.all("html"), page.all("head")[0].all("title")
    assert root.attributes["lang"] == "en" and len(title.text) > 5
    (viewport,) = [meta for meta in page.all("meta") if meta.attributes.get("name") == "viewport"]
    assert "user-scalable" not in viewport.attributes["content"]


def test_all_text_is_in_a_landmark_and_landmarks_have_names_of_their_own(page: Node) -> None:
    (body,) = page.all("body")
    assert [node.tag for node in body.children] == ["a", "nav", "main", "script"]
    (skip, *_) = body.children
    assert skip.attributes["href"] == "#content" and body.all("main")[0].attributes["id"] == "content"
    identified = {node.attributes["id"]: node for node in walk(page) if "id" in node.attributes}
    names = []
    for node in walk(page):
        role = node.attributes.get("role") or node.tag
        if role in ("nav", "form", "region") or (role == "section" and "aria-labelledby" in node.attributes):
            label = node.attributes.get("aria-label") or identified[node.attributes["aria-labelledby"]].text
            assert label.strip(), node.tag
            names.append((role, label.strip()))
    assert sorted(names) == sorted(set(names))


def test_headings_skip_no_level(page: Node) -> None:
    levels = [int(node.tag[1]) for node in page.all("h1", "h2", "h3", "h4", "h5", "h6")]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert all(node.text.strip() for node in page.all("h1", "h2", "h3", "h4"))


def test_every_table_has_a_caption_and_headers_with_words_and_scope(page: Node) -> None:
    tables = page.all("table")
    assert len(tables) > 5
    for table in tables:
        (caption,) = table.all("caption")
        assert caption.text.strip()
        columns = table.all("thead")[0].all("th")
        assert all(th.attributes["scope"] == "col" and th.text.strip() for th in columns)
        for row in table.all("tbody")[0].all("tr"):
            first, *cells = row.children
            assert first.tag == "th" and first.attributes["scope"] in ("row", "rowgroup") and first.text.strip()
            assert not cells or len(cells) == len(columns) - 1


def test_every_control_link_and_picture_has_a_name(page: Node) -> None:
    for control in page.all("input"):
        assert control.parent is not None and control.parent.tag == "label"
        assert control.attributes.get("aria-label") or control.parent.text.strip()
    for node in page.all("a", "summary", "legend", "dt"):
        assert node.text.strip(), node.tag
    for fields in page.all("fieldset"):
        assert fields.children[0].tag == "legend"
    for details in page.all("details"):
        assert details.children[0].tag == "summary"
    for node in walk(page):
        if node.attributes.get("role") == "img":
            assert node.attributes.get("aria-label") or node.attributes.get("aria-labelledby")
        if node.tag == "svg" and not node.inside("svg"):
            assert node.attributes.get("role") == "img" or node.hidden
    assert not page.all("img", "iframe", "video")


def test_boxes_that_scroll_take_the_focus(page: Node) -> None:
    for node in walk(page):
        if "scroll" in node.attributes.get("class", "").split():
            assert node.attributes.get("tabindex") == "0" or node.tag == "nav"
        assert int(node.attributes.get("tabindex", "0")) <= 0


def walk(node: Node) -> list[Node]:
    return [node, *(below for child in node.children for below in walk(child))]
