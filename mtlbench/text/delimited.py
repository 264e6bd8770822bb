"""CSV, TSV, and what spreadsheets make of them. Where a file can be read in two ways, it is refused, not guessed at."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from mtlbench.errors import UsageError
from mtlbench.text.columns import Record, find_columns
from mtlbench.text.file_content import file_type

Quoting = Literal["csv", "backslash", "none"]
DELIMITERS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}
QUOTES: dict[str, dict[str, Any]] = {
    "csv": {},
    "backslash": {"doublequote": False, "escapechar": "\\"},
}
DELIMITED = (".csv", ".tsv", ".txt")
"""Endings of the files that are read here."""
LONGEST = 2**31 - 1
"""Characters of a field. Python's own limit is 131,072, of all CSV files of a process."""


@dataclass(frozen=True)
class Dialect:
    """How a file is written, where somebody says so.

    :param delimiter: one character; if none is given, it is a tab if the header has one, else a comma.
    :param quoting: ``csv``: a field may be in double quotes, with those in it doubled; ``backslash``: with a backslash
        before those in it; ``none``: quotes are text. If none is given, it is ``none`` for a ``.tsv`` or ``.txt`` file
        with tabs, else ``csv``.
    """

    delimiter: str | None = None
    quoting: Quoting | None = None


class _SplitLine(NamedTuple):
    line: int
    cells: list[str]
    lines: list[str]
    """The lines of the file that the row was read from."""


def name_delimiter(text: str) -> str:
    """Return a delimiter that a user names, or gives as it is, as a spec holds it: by its name, if it has one.

    :raises ValueError: when it is none.
    """
    delimiter = read_delimiter(text)
    return next((name for name, character in DELIMITERS.items() if character == delimiter), delimiter)


def read_delimiter(text: str) -> str:
    """Return the delimiter that a user names, or gives as it is.

    :raises ValueError: when it is none.
    """
    delimiter = DELIMITERS.get(text.lower(), text)
    if len(delimiter) != 1 or delimiter in '"\r\n\\\0':
        raise ValueError("should be one character, or tab, comma, semicolon, pipe or space")
    return delimiter


def read_delimited(
    path: Path,
    text: str,
    wanted: Sequence[str],
    dialect: Dialect,
    labelled: Callable[[Sequence[str | None]], bool | None],
) -> Iterator[Record]:
    """Yield some columns' cells, row by row. Lines without any character but white space and delimiters are no rows.

    :param labelled: says of cells whether they are a row with a label, one without (``None``), or none.
    :raises UsageError: one line, for a row that cannot be read, or could be read in two ways, and for a column that is
        not there.
    """
    lines, start, said = _lines(path, text)
    if not lines:
        return
    delimiter = dialect.delimiter or said or ("\t" if "\t" in lines[0] else ",")
    custom: Quoting = "none" if delimiter == "\t" and file_type(path) != ".csv" else "csv"
    quoting = dialect.quoting or custom
    rows = _rows(path, lines, start, delimiter, quoting)
    header = rows[0].cells
    places = find_columns(str(path), wanted, header, _header_hint(wanted, lines[0], delimiter, quoting))
    for row in rows[1:]:
        cells = row.cells
        if "".join(cells[len(header) :]).strip():
            raise UsageError(
                f"{path}, line {row.line}: {len(cells)} fields, but the header has {len(header)}; {_TOO_MANY[quoting]}"
            )
        if not "".join(cells).strip():
            continue
        if dialect.quoting is None:
            fault = _quoted_fault(row, len(header)) if quoting == "none" else None
            if len(row.lines) > 1:
                fault = _swallowed(row, len(header), delimiter, places, labelled)
            if fault is not None:
                raise UsageError(f"{path}, line {row.line}: {fault}")
        yield row.line, tuple(cells[place] if place < len(cells) else None for place in places)


_TOO_MANY = {
    "csv": "a text that holds the delimiter must be in double quotes",
    "backslash": "a text that holds the delimiter must be in double quotes",
    "none": "quotes are text here; if a text with the delimiter in it is in double quotes, give quoting=csv",
}


def _lines(path: Path, text: str) -> tuple[list[str], int, str | None]:
    """Return the lines from the header on, the number of the first, and the delimiter that a first line says.

    Excel reads and writes such a first line: ``sep=;``.
    """
    end = "\n" if "\n" in text else "\r"
    lines = [line + end for line in text.split(end)]
    said = re.fullmatch(r"\"?sep=(.)\"?\s*", lines[0])
    if said:
        try:
            read_delimiter(said[1])
        except ValueError as fault:
            raise UsageError(f"{path}, line 1: the delimiter of sep={said[1]} {fault}") from None
    start = 1 if said else 0
    while start < len(lines) and not lines[start].strip():
        start += 1
    return lines[start:], start + 1, said[1] if said else None


def _rows(path: Path, lines: list[str], start: int, delimiter: str, quoting: Quoting) -> list[_SplitLine]:
    """Split the lines into rows."""
    if quoting == "none":
        return [
            _SplitLine(number, line.rstrip("\r\n").split(delimiter), [line]) for number, line in enumerate(lines, start)
        ]
    rows, first = list[_SplitLine](), 0
    limit = csv.field_size_limit(LONGEST)
    try:
        options = {**QUOTES[quoting], "delimiter": delimiter, "strict": True}
        header = next(csv.reader(lines, **options))
        # where the header has a space after a delimiter, spaces are no part of a field, and a quote after one opens it
        options["skipinitialspace"] = delimiter != " " and any(name.startswith(" ") for name in header[1:])
        reader = csv.reader(lines, **options)
        for cells in reader:
            rows.append(_SplitLine(start + first, cells, lines[first : reader.line_num]))
            first = reader.line_num
    except csv.Error as fault:  # named by the line where the row begins: that is where the quote was opened
        raise UsageError(f"{path}, line {start + first}: {_explained(str(fault))}") from None
    finally:
        csv.field_size_limit(limit)
    return rows


def _explained(fault: str) -> str:
    if fault.startswith("new-line"):
        return "a carriage return inside a field; save the file with one kind of line ends, or put the text in quotes"
    return (
        f"{fault}; a text that begins with a double quote must be in double quotes, with its own doubled; or give "
        "quoting=backslash if they have backslashes, quoting=none if quotes are text"
    )


def _header_hint(wanted: Sequence[str], line: str, delimiter: str, quoting: Quoting) -> str:
    """Return what may help where a column is not found: another delimiter, or quotes."""
    for name, other in DELIMITERS.items():
        columns = [column.strip().strip('"') for column in line.split(other)]
        if set(wanted) <= set(columns) and (other != delimiter or quoting == "none"):
            return f"give delimiter={name}; " if other != delimiter else "give quoting=csv; "
    return ""


def _quoted_fault(row: _SplitLine, width: int) -> str | None:
    """Return what tells that a row has quotes of CSV's, in a file that has none by custom."""
    if len(row.cells) < width and row.lines[0].count('"') % 2:
        return (
            f"{len(row.cells)} fields, but the header has {width}, and a double quote without another; give "
            "quoting=csv if texts in double quotes go over several lines, else quoting=none"
        )
    if any(map(_has_doubled_quotes, row.cells)):
        return "a text in double quotes with doubled ones in it; give quoting=csv if they are CSV's, else quoting=none"
    return None


def _has_doubled_quotes(cell: str) -> bool:
    """Whether a field is one that CSV puts in quotes because of those in it."""
    inner = cell.strip()[1:-1]
    return cell.strip() == f'"{inner}"' and '""' in inner and '"' not in inner.replace('""', "")


def _swallowed(
    row: _SplitLine,
    width: int,
    delimiter: str,
    places: Sequence[int],
    labelled: Callable[[Sequence[str | None]], bool | None],
) -> str | None:
    """Return what tells that a field of several lines is made of rows, between two stray quotes."""
    told = rows_in(row.lines, width, delimiter, places, labelled)
    if told.count(True) < 2 or 2 * told.count(False) >= len(told):
        return None
    return (
        f"a field in double quotes goes over {len(row.lines)} lines, {told.count(True)} of which are rows by "
        "themselves; give quoting=none if the quote is text, or quoting=csv if the field is right"
    )


def rows_in(
    lines: Sequence[str],
    width: int,
    delimiter: str,
    places: Sequence[int],
    labelled: Callable[[Sequence[str | None]], bool | None],
) -> list[bool | None]:
    """Say of lines what ``labelled`` says of them as rows."""
    told: list[bool | None] = []
    for line in lines:
        cells = [cell.strip().strip('"') for cell in line.rstrip("\r\n").split(delimiter)]
        told.append(labelled([cells[place] for place in places]) if len(cells) == width else False)
    return told
