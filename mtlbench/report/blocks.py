"""The parts of a laid-out report: headings, paragraphs, lists and tables of plain strings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Heading:
    """The heading of one group."""

    kind: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of text."""

    kind: ClassVar[str] = "paragraph"
    text: str


@dataclass(frozen=True)
class Bullets:
    """A list with a title."""

    kind: ClassVar[str] = "bullets"
    title: str
    items: tuple[str, ...]
    full: bool = False
    """Whether a terminal shows the list only with ``--full``."""


@dataclass(frozen=True)
class Row:
    """One method's row; the first cell names it."""

    cells: tuple[str, ...]
    strong: bool = False
    """Whether to print the row in bold, as for a separable difference."""


@dataclass(frozen=True)
class Section:
    """Rows under a common heading, such as a task."""

    heading: str | None
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Table:
    """A table with a title and a caption."""

    kind: ClassVar[str] = "table"
    title: str
    columns: tuple[str, ...]
    sections: tuple[Section, ...]
    caption: tuple[str, ...] = ()
    """Lines that a reader needs for the numbers and marks."""
    explained: tuple[str, ...] = ()
    """Further lines on tests and columns; a terminal shows them only with ``--full``."""
    detail: bool = False
    """Whether only HTML shows the table, and a terminal with ``--full``; other formats omit it to save space."""


Block = Heading | Paragraph | Bullets | Table
