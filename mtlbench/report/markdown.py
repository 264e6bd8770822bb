"""The report as GitHub Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from mtlbench.report.blocks import Block, Bullets, Heading, Paragraph, Table


def render(blocks: Sequence[Block]) -> str:
    """Return a document as Markdown, without detail tables: HTML, JSON and CSV have them.

    :param blocks: the document.
    """
    parts: list[str] = []
    for block in blocks:
        match block:
            case Heading(text):
                parts.append(f"## {escape(text)}")
            case Paragraph(text):
                parts.append(escape(text))
            case Bullets(title, items):
                parts.append(f"### {escape(title)}\n\n" + "\n".join(f"- {escape(item)}" for item in items))
            case Table(detail=False):
                parts.append(_table(block))
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """Return text escaped for Markdown.

    Underscores within words (``macro_f1``) and brackets not followed by a parenthesis (``cagrad[c=0.4]``) stay: GitHub
    prints them unchanged, and the source is easier to read.

    :param text: plain text.
    """
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*|~])", r"\\\1", text)
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text).replace("](", "]\\(")


def _table(table: Table) -> str:
    """Return a table; section headings become bold rows, since Markdown tables have no sections."""
    lines = [_line(map(escape, table.columns)), _line(("---", *("---:" for _ in table.columns[1:])))]
    for section in table.sections:
        if section.heading:
            lines.append(_line((f"**{escape(section.heading)}**", *("" for _ in table.columns[1:]))))
        for row in section.rows:
            cells = [escape(cell) for cell in row.cells]
            lines.append(_line(f"**{cell}**" if row.strong else cell for cell in cells))
    caption = "\n".join(f"- {escape(line)}" for line in (*table.caption, *table.explained))
    return f"### {escape(table.title)}\n\n" + "\n".join(lines) + f"\n\n{caption}"


def _line(cells: Iterable[str]) -> str:
    """Return one row of a table."""
    return f"| {' | '.join(cells)} |"
