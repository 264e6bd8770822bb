"""The parts of a laid-out report: headings, paragraphs, lists and tables of plain strings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Heading:
    kind: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True)
class Paragraph:
    kind: ClassVar[str] = "paragraph"
    text: str


@dataclass(frozen=True)
class Bullets:
    kind: ClassVar[str] = "bullets"
    title: str
    items: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One method's row; the first cell names it."""

    cells: tuple[str, ...]
    strong: bool = False
    """Whether to print it in bold: a separable difference."""


@dataclass(frozen=True)
class Section:
    """Rows under a common heading, such as a task."""

    heading: str | None
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Table:
    kind: ClassVar[str] = "table"
    title: str
    columns: tuple[str, ...]
    sections: tuple[Section, ...]
    caption: tuple[str, ...] = ()
    """What the numbers and marks mean, a line each."""
    detail: bool = False
    """Whether only the formats with room to spare (HTML) show it."""


Block = Heading | Paragraph | Bullets | Table
