"""The report as text for a terminal or a pipe: the same characters, with or without colour."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from rich.cells import cell_len, set_cell_size
from rich.table import Table as Grid
from rich.text import Text

from mtlbench.host.terminal import Console, printed
from mtlbench.report.blocks import Block, Bullets, Heading, Paragraph, Table

WIDTH = 80
NAME_WIDTH, NARROW_NAME_WIDTH = 24, 12
"""Width of the name column where a table is split. A table that fits with a name column of the second width is not
split: long names wrap to what is left."""
GAP = 2
MORE = "Other metrics, power, and what every number means: mtlbench report --full"


def render(blocks: Sequence[Block], width: int | None = None, color: bool = False, full: bool = False) -> str:
    """Return a document as text whose lines fit the width, except for long paths.

    All strings are wrapped in ``Text``, since rich would read ``cagrad[c=0.4]`` as markup.

    :param blocks: the document.
    :param width: width in terminal cells; default: the terminal's, or 80 without a terminal.
    :param color: whether to use terminal escapes.
    :param full: whether to show also detail tables, full lists and explanations; otherwise the last line names them.
    """
    width = width or shutil.get_terminal_size((WIDTH, 24)).columns

    def show(console: Console) -> None:
        above: Block | None = None
        for block in blocks:
            if full or not _is_extra(block):
                if isinstance(block, Paragraph) and isinstance(above, Bullets | Table):
                    console.print()
                _print(console, block, width, full)
                above = block
        if not full and any(_is_extra(block) or (isinstance(block, Table) and block.explained) for block in blocks):
            console.print("\n", Text(MORE, style="dim"), sep="")

    return printed(show, width=width, color=color).lstrip("\n") + "\n"


def _is_extra(block: Block) -> bool:
    """Return whether a block is shown only on request."""
    return (isinstance(block, Table) and block.detail) or (isinstance(block, Bullets) and block.full)


def _print(console: Console, block: Block, width: int, full: bool) -> None:
    """Print one block, with a blank line before headings, lists and tables."""
    match block:
        case Heading(text):
            console.print("\n", Text(text, style="bold"), sep="")
            console.print(Text("=" * min(cell_len(text), width)))
        case Paragraph(text):
            console.print(Text(text))
        case Bullets(title=title, items=items):
            console.print("\n", Text(title, style="bold"), sep="")
            for item in items:
                if max(map(cell_len, item.split()), default=0) > width - GAP:
                    console.print(Text(f"- {item}"), soft_wrap=True)  # keep paths whole for copying
                else:
                    console.print(_hanging(item))
        case Table():
            console.print("\n", Text(block.title, style="bold"), sep="")
            headers, widths = _measured(block)
            for part in _parts(widths, width):
                console.print(_grid(console, block, part, headers, widths))
            for line in (*block.caption, *(block.explained if full else ())):
                console.print(_hanging(line, bullet=" ", style="dim"))


def _hanging(text: str, bullet: str = "-", style: str = "") -> Grid:
    """Return a paragraph with a hanging indent."""
    grid = Grid.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=1)
    grid.add_column(overflow="fold")
    grid.add_row(bullet, Text(text, style=style))
    return grid


def _measured(table: Table) -> tuple[list[list[str]], list[int]]:
    """Return every column's header lines, broken after the task name where that saves width, and its width."""
    headers, widths = [], []
    for index, header in enumerate(table.columns):
        widest = max((cell_len(row.cells[index]) for section in table.sections for row in section.rows), default=0)
        broken = re.sub(r" (?![↑↓])", "\n", header, count=1) if cell_len(header) > widest else header
        headers.append(broken.split("\n"))
        widths.append(max(widest, *map(cell_len, headers[-1])))
    return headers, widths


def _parts(widths: Sequence[int], width: int) -> list[list[int]]:
    """Split a table that is too wide by columns; each part repeats the first column, which names the method."""
    others = range(1, len(widths))
    if sum(widths[index] + GAP for index in others) + min(widths[0], NARROW_NAME_WIDTH) <= width:
        return [list(range(len(widths)))]
    room = width - min(widths[0], NAME_WIDTH)
    parts: list[list[int]] = [[0]]
    left = room
    for index in others:
        needed = widths[index] + GAP
        if needed > left and len(parts[-1]) > 1:
            parts.append([0])
            left = room
        parts[-1].append(index)
        left -= needed
    return parts


def _grid(
    console: Console, table: Table, columns: Sequence[int], headers: Sequence[list[str]], widths: Sequence[int]
) -> Text:
    """Return some columns of a table as lines. A rich table would take seconds on a long report: it renders by cell."""
    others = columns[1:]
    longest = max([widths[0], *(cell_len(section.heading or "") for section in table.sections)])
    room = console.width - sum(widths[index] + GAP for index in others)
    shown = [max(1, min(longest, room)), *(widths[index] for index in others)]

    def fold(name: str) -> list[str]:
        return [name] if cell_len(name) <= shown[0] else _folded(console, name, shown[0])

    header_cells = [fold(table.columns[0]), *(headers[index] for index in others)]
    tallest = max(map(len, header_cells))
    header_cells = [[""] * (tallest - len(lines)) + lines for lines in header_cells]
    lines = [(line, "bold") for line in _beside(header_cells, shown)]
    lines.append(("─" * (sum(shown) + GAP * len(others)), ""))
    for section in table.sections:
        if section is not table.sections[0]:
            lines.append(("", ""))
        if section.heading:
            lines += [(line, "underline") for line in fold(section.heading)]
        for row in section.rows:
            cells = [fold(row.cells[0]), *([row.cells[index]] for index in others)]
            lines += [(line, "bold" if row.strong else "") for line in _beside(cells, shown)]
    return Text("\n").join(Text(line, style=style) for line, style in lines)


def _folded(console: Console, name: str, width: int) -> list[str]:
    """Return a name in lines, broken before its parameters and between them where that is possible."""
    lines = [""]
    for part in re.findall(r"\[?[^\[,]*,?", name):
        if cell_len(lines[-1]) + cell_len(part) <= width:
            lines[-1] += part
        else:
            lines.append(part)
    return [piece.plain for line in lines if line for piece in Text(line).wrap(console, width)]


def _beside(cells: Sequence[Sequence[str]], widths: Sequence[int]) -> Iterator[str]:
    """Yield the lines of cells side by side: the first cell aligned left, the others right."""
    for name, *values in zip_longest(*cells, fillvalue=""):
        placed = (
            " " * (GAP + width - cell_len(value)) + value for value, width in zip(values, widths[1:], strict=True)
        )
        yield set_cell_size(name, widths[0]) + "".join(placed)
