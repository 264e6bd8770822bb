"""Reads labelled texts from CSV, TSV, JSON lines and parquet. Every fault names the file, the line and the value."""

from __future__ import annotations

import csv
import difflib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any

from mtlbench.contract.task import Rows
from mtlbench.errors import UsageError, one_line, shown
from mtlbench.text.labels import Labels

MISSING_LIMIT = 0.05
"""The share of rows with missing fields above which a file is taken to be damaged."""

Record = tuple[int, tuple[Any, ...]]
"""The number of a line (or row), counted from 1, and its cells: one or two texts, then the label's one or more."""


def read_table(
    path: str | Path,
    text_columns: Sequence[str],
    label_columns: Sequence[str],
    labels: Labels,
    *,
    skip_unlabelled: bool = False,
    delimiter: str | None = None,
) -> Rows:
    """Read one split from a file with named columns.

    :param path: a ``.csv``, ``.tsv``, ``.txt``, ``.jsonl``, ``.ndjson`` or ``.parquet`` file, text in UTF-8.
    :param text_columns: the names of one or two columns of text. White space around a text is removed, nothing else.
    :param label_columns: the names of the columns of labels: one, or one a label.
    :param labels: how labels are read.
    :param skip_unlabelled: rows without a label are left out however many they are.
    :param delimiter: between the fields of a CSV file; by default a tab if the header line has one, else a comma.
    :return: the rows in the file's order. Rows in which a text or the label is empty are left out and counted;
        a label that reads ``nan`` is not empty but an error, since somebody computed it.
    :raises UsageError: one line, for a file that is missing, unreadable or without rows, a column that is not
        there, a row that cannot be read, a label that cannot be, and more than 5 % of rows with missing fields.
    """
    path = Path(path)
    if not path.exists():
        raise UsageError(f"data file {path} does not exist")
    wanted = (*text_columns, *label_columns)
    unit = "line"
    match path.suffix.lower():
        case ".csv" | ".tsv" | ".txt":
            records = _delimited(path, wanted, delimiter)
        case ".jsonl" | ".ndjson":
            records = _json_lines(path, wanted)
        case ".parquet":
            records, unit = _parquet(path, wanted), "row"
        case _:
            raise UsageError(f"data file {path} is of no known type; give .csv, .tsv, .jsonl or .parquet")
    return to_rows(records, str(path), unit, labels, skip_unlabelled=skip_unlabelled)


def to_rows(
    records: Iterable[Record], origin: str, unit: str, labels: Labels, *, skip_unlabelled: bool = False
) -> Rows:
    """Check records and make rows of them.

    :param origin: what errors call the place that the records come from.
    :param unit: what errors call a record: ``"line"`` or ``"row"``.
    :raises UsageError: as :func:`read_table`, for everything that concerns a cell.
    """
    texts: list[tuple[str, ...]] = []
    read: list[Any] = []
    missing: list[int] = []
    unlabelled = 0
    for number, cells in records:
        text, label = cells[: -labels.columns], cells[-labels.columns :]
        if skip_unlabelled and any(map(_is_missing, label)):
            unlabelled += 1
            continue
        if any(map(_is_missing, cells)):
            missing.append(number)
            continue
        try:
            read.append(labels.read(label))
            texts.append(tuple([_text(cell) for cell in text]))
        except ValueError as fault:
            raise UsageError(f"{origin}, {unit} {number}: {fault}") from None
    total = len(texts) + len(missing)
    if total == 0:
        raise UsageError(f"{origin} has no row with a label" if unlabelled else f"{origin} is empty: it has no rows")
    if len(missing) > MISSING_LIMIT * total:
        raise UsageError(
            f"{origin}: {len(missing)} of {total} rows have an empty text or label, more than "
            f"{MISSING_LIMIT:.0%} (missing=skip, of a task of your own, allows empty labels); "
            f"the first is {unit} {missing[0]}"
        )
    return Rows(texts, labels.array(read), skipped=len(missing) + unlabelled)


def check_columns(origin: str, wanted: Iterable[str], columns: Iterable[str]) -> None:
    """Check that every wanted column is there, once.

    :raises UsageError: with the closest name, if one is close, and all columns that there are.
    """
    columns = [column for column in columns if column]  # CS224N files have an index column with an empty name
    for name in wanted:
        if name not in columns:
            close = difflib.get_close_matches(name, columns, n=1, cutoff=0.55)
            hint = f"did you mean {close[0]}? " if close else ""
            known = one_line(", ".join(columns), 300) or "none"
            raise UsageError(f"{origin} has no column '{name}'; {hint}it has: {known}")
        if columns.count(name) > 1:
            raise UsageError(f"{origin} has more than one column '{name}'; rename all but one")


def _is_missing(cell: Any) -> bool:
    return cell is None or (isinstance(cell, str) and not cell.strip())


def _text(cell: Any) -> str:
    if not isinstance(cell, str):
        raise ValueError(f"{shown(cell)} is not text")
    try:
        cell.encode()
    except UnicodeEncodeError:  # JSON can hold "\ud800", half a character, which no tokenizer takes
        raise ValueError(f"text {shown(cell)} holds half a surrogate pair") from None
    return cell.strip()


def _delimited(path: Path, wanted: Sequence[str], delimiter: str | None) -> Iterator[Record]:
    text = _decoded(path)
    if not text.strip():
        return
    delimiter = delimiter or ("\t" if "\t" in text.partition("\n")[0] else ",")
    # strict: a stray quote would otherwise swallow the rows up to the next one without a word
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        header = next(reader)
        check_columns(str(path), wanted, header)
        pick = itemgetter(*map(header.index, wanted))
        line = reader.line_num + 1
        for cells in reader:
            if any(cells[len(header) :]):
                raise UsageError(
                    f"{path}, line {line}: {len(cells)} fields, but the header has {len(header)}; "
                    "a text that holds the delimiter must be in double quotes"
                )
            if cells:  # an empty line is no row
                yield line, pick(cells + [None] * (len(header) - len(cells)))
            line = reader.line_num + 1
    except csv.Error as fault:  # named by the line where the row begins: that is where the quote was opened
        raise UsageError(
            f"{path}, line {line}: {fault}; a text that begins with a double quote must be in double quotes, "
            "with its own doubled"
        ) from None


def _json_lines(path: Path, wanted: Sequence[str]) -> Iterator[Record]:
    lines = enumerate(_decoded(path).split("\n"), start=1)
    objects = [(number, _json_object(path, number, line)) for number, line in lines if line.strip()]
    if objects:  # a field that is null may be left out of a line, so the columns are those of all lines
        check_columns(str(path), wanted, dict.fromkeys(chain.from_iterable(fields for _, fields in objects)))
    for number, fields in objects:
        yield number, tuple(map(fields.get, wanted))


def _json_object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as fault:
        raise UsageError(f"{path}, line {number}: {shown(line)} is not JSON ({one_line(str(fault), 80)})") from None
    if not isinstance(fields, dict):
        raise UsageError(f"{path}, line {number}: {shown(line)} is not a JSON object with named fields")
    return fields


def _parquet(path: Path, wanted: Sequence[str]) -> Iterator[Record]:
    import pyarrow
    from pyarrow import parquet

    def read() -> tuple[Any, ...]:
        with parquet.ParquetFile(path) as file:
            check_columns(str(path), wanted, file.schema_arrow.names)
            table = file.read(columns=list(wanted))
            return tuple(table.column(name).to_pylist() for name in wanted)

    # a text, or a column's name, need not be UTF-8: the format says so, and its readers do not check
    columns = _readable(path, read, (OSError, pyarrow.ArrowException, UnicodeDecodeError))
    yield from enumerate(zip(*columns, strict=True), start=1)


def _decoded(path: Path) -> str:
    data: bytes = _readable(path, path.read_bytes)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        line = data.count(b"\n", 0, fault.start) + 1
        byte = data[fault.start]
        raise UsageError(f"{path}, line {line}: byte 0x{byte:02x} is not UTF-8; save the file as UTF-8") from None


def _readable(path: Path, read: Callable[[], Any], faults: tuple[type[Exception], ...] = (OSError,)) -> Any:
    try:
        return read()
    except faults as fault:
        reason = getattr(fault, "strerror", None) or str(fault)
        raise UsageError(f"data file {path} cannot be read: {one_line(reason, 120)}") from None
