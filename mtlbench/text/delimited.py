"""Reader for CSV and TSV files in the dialects of common programs. Ambiguous files are refused; nothing is guessed."""

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
"""Name endings of the files that this module reads."""
LONGEST = 2**31 - 1
"""Maximal length of a field in characters. Python's default is 131,072, for all CSV files of a process."""


@dataclass(frozen=True)
class Dialect:
    """The format of a CSV or TSV file, as far as the user specifies it.

    :param delimiter: one character; default: a tab if the header has one, else a comma.
    :param quoting: ``csv``: fields may be in double quotes, and quotes inside are doubled; ``backslash``: quotes
        inside have a backslash before them; ``none``: quotes are text. Default: ``none`` for a ``.tsv`` or ``.txt``
        file with tabs, else ``csv``.
    """

    delimiter: str | None = None
    quoting: Quoting | None = None


class _SplitLine(NamedTuple):
    line: int
    """Number of the row's first line, counted from 1."""
    cells: list[str]
    lines: list[str]
    """The lines that the row was read from."""


def name_delimiter(text: str) -> str:
    """Return a delimiter in the form that specs use: its name if it has one, else the character.

    :param text: the delimiter as the user wrote it: a name or a character.
    :raises ValueError: when it is not a delimiter.
    """
    delimiter = read_delimiter(text)
    return next((name for name, character in DELIMITERS.items() if character == delimiter), delimiter)


def read_delimiter(text: str) -> str:
    """Return the character of a delimiter.

    :param text: the delimiter as the user wrote it: a name or a character.
    :raises ValueError: when it is not a delimiter.
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
    """Yield the wanted cells, row by row. Lines of only white space and delimiters are skipped.

    :param path: the file, for messages and its name's ending.
    :param text: its contents.
    :param wanted: names of the columns to read.
    :param dialect: the format, as far as the user specifies it.
    :param labelled: tests cells: ``True`` for a row with a label, ``None`` for a row without one, ``False`` for cells
        that are not a row.
    :raises UsageError: for a row that cannot be read or is ambiguous, and for a missing column.
    """
    lines, start, declared = _lines(path, text)
    if not lines:
        return
    delimiter, quoting = _format(path, lines[0], declared, dialect)
    rows = _rows(path, lines, start, delimiter, quoting)
    header = rows[0].cells
    indices = find_columns(str(path), wanted, header, _header_hint(wanted, lines[0], delimiter, quoting))
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
                fault = _multiline_fault(row, len(header), delimiter, indices, labelled)
            if fault is not None:
                raise UsageError(f"{path}, line {row.line}: {fault}")
        yield row.line, tuple(cells[index] if index < len(cells) else None for index in indices)


def names_of(path: Path, text: str, dialect: Dialect) -> list[str]:
    """Return the names of all columns, as they are written.

    :param path: the file, for messages and its name's ending.
    :param text: its contents.
    :param dialect: the format, as far as the user specifies it.
    :raises UsageError: for a file that cannot be split into rows.
    """
    lines, start, declared = _lines(path, text)
    return _rows(path, lines, start, *_format(path, lines[0], declared, dialect))[0].cells if lines else []


def _format(path: Path, header: str, declared: str | None, dialect: Dialect) -> tuple[str, Quoting]:
    """Return the delimiter and the quoting of a file."""
    delimiter = dialect.delimiter or declared or ("\t" if "\t" in header else ",")
    default: Quoting = "none" if delimiter == "\t" and file_type(path) != ".csv" else "csv"
    return delimiter, dialect.quoting or default


_TOO_MANY = {
    "csv": "a text that holds the delimiter must be in double quotes",
    "backslash": "a text that holds the delimiter must be in double quotes",
    "none": "quotes are text here; if a text with the delimiter in it is in double quotes, give quoting=csv",
}


def _lines(path: Path, text: str) -> tuple[list[str], int, str | None]:
    """Return the lines from the header on, the header's line number, and the delimiter that the first line declares.

    Excel reads and writes such a first line: ``sep=;``.
    """
    end = "\n" if "\n" in text else "\r"
    lines = [line + end for line in text.split(end)]
    declaration = re.fullmatch(r"\"?sep=(.)\"?\s*", lines[0])
    if declaration:
        try:
            read_delimiter(declaration[1])
        except ValueError as fault:
            raise UsageError(f"{path}, line 1: the delimiter of sep={declaration[1]} {fault}") from None
    start = 1 if declaration else 0
    while start < len(lines) and not lines[start].strip():
        start += 1
    return lines[start:], start + 1, declaration[1] if declaration else None


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
        # where the header has a space after a delimiter, such spaces are skipped, and a quote after one opens a field
        options["skipinitialspace"] = delimiter != " " and any(name.startswith(" ") for name in header[1:])
        reader = csv.reader(lines, **options)
        for cells in reader:
            rows.append(_SplitLine(start + first, cells, lines[first : reader.line_num]))
            first = reader.line_num
    except csv.Error as fault:  # report the line where the row begins, since the quote was opened there
        raise UsageError(f"{path}, line {start + first}: {_explain(str(fault))}") from None
    finally:
        csv.field_size_limit(limit)
    return rows


def _explain(fault: str) -> str:
    """Return a CSV error with its remedy."""
    if fault.startswith("new-line"):
        return "a carriage return inside a field; save the file with one kind of line ends, or put the text in quotes"
    return (
        f"{fault}; a text that begins with a double quote must be in double quotes, with its own doubled; or give "
        "quoting=backslash if they have backslashes, quoting=none if quotes are text"
    )


def _header_hint(wanted: Sequence[str], line: str, delimiter: str, quoting: Quoting) -> str:
    """Return advice for a missing column: another delimiter, or quotes; empty if neither helps."""
    for name, other in DELIMITERS.items():
        columns = [column.strip().strip('"') for column in line.split(other)]
        if set(wanted) <= set(columns) and (other != delimiter or quoting == "none"):
            return f"give delimiter={name}; " if other != delimiter else "give quoting=csv; "
    return ""


def _quoted_fault(row: _SplitLine, width: int) -> str | None:
    """Return the sign that a row uses CSV's quotes in a file where quotes are text by default, or ``None``."""
    if len(row.cells) < width and row.lines[0].count('"') % 2:
        return (
            f"{len(row.cells)} fields, but the header has {width}, and a double quote without another; give "
            "quoting=csv if texts in double quotes span several lines, else quoting=none"
        )
    if any(map(_has_doubled_quotes, row.cells)):
        return "a text in double quotes with doubled ones in it; give quoting=csv if they are CSV's, else quoting=none"
    return None


def _has_doubled_quotes(cell: str) -> bool:
    """Return whether a field is in CSV's quotes with doubled quotes inside."""
    inner = cell.strip()[1:-1]
    return cell.strip() == f'"{inner}"' and '""' in inner and '"' not in inner.replace('""', "")


def _multiline_fault(
    row: _SplitLine,
    width: int,
    delimiter: str,
    indices: Sequence[int],
    labelled: Callable[[Sequence[str | None]], bool | None],
) -> str | None:
    """Return the sign that a field of several lines consists of rows between two stray quotes, or ``None``."""
    results = match_rows(row.lines, width, delimiter, indices, labelled)
    if results.count(True) < 2 or 2 * results.count(False) >= len(results):
        return None
    return (
        f"a field in double quotes spans {len(row.lines)} lines, {results.count(True)} of which are rows by "
        "themselves; give quoting=none if the quote is text, or quoting=csv if the field is right"
    )


def match_rows(
    lines: Sequence[str],
    width: int,
    delimiter: str,
    indices: Sequence[int],
    labelled: Callable[[Sequence[str | None]], bool | None],
) -> list[bool | None]:
    """Test for each line whether it is a row by itself.

    :param lines: the lines.
    :param width: number of columns.
    :param delimiter: one character.
    :param indices: indices of the columns of texts and label.
    :param labelled: the test of :func:`read_delimited`.
    :returns: its result for each line; ``False`` for a line with another number of columns.
    """
    results: list[bool | None] = []
    for line in lines:
        cells = [cell.strip().strip('"') for cell in line.rstrip("\r\n").split(delimiter)]
        results.append(labelled([cells[index] for index in indices]) if len(cells) == width else False)
    return results
