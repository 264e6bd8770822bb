"""Readers for JSON lines and for JSON files with an array of objects."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from mtlbench.errors import UsageError, one_line, shown
from mtlbench.text.columns import Record, find_columns
from mtlbench.text.file_content import file_type

Objects = list[tuple[int, dict[str, Any]]]


def read_json_lines(path: Path, text: str, wanted: Sequence[str]) -> Iterator[Record]:
    """Return the wanted fields of a text with one JSON object per line.

    :param path: the file, for messages.
    :param text: its contents.
    :param wanted: names of the fields to read.
    :raises UsageError: for a line that is not a JSON object, and for a field that no object has.
    """
    lines = enumerate(text.split("\n"), start=1)
    return _records(path, [(number, _line(path, number, line)) for number, line in lines if line.strip()], wanted)


def read_json(path: Path, text: str, wanted: Sequence[str]) -> tuple[Iterable[Record], str]:
    """Return the wanted fields of a text with an array of JSON objects, or with one object per line.

    :param path: the file, for messages.
    :param text: its contents.
    :param wanted: names of the fields to read.
    :returns: the records, and the unit that their numbers count: ``"line"`` or ``"row"``.
    :raises UsageError: as :func:`read_json_lines`.
    """
    if not text.lstrip().startswith("["):
        return read_json_lines(path, text, wanted), "line"
    try:
        items = json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as fault:
        raise UsageError(f"data file {path} is not JSON ({one_line(str(fault), 80)})") from None
    return _records(
        path, [(row, _fields(f"{path}, row {row}", item)) for row, item in enumerate(items, 1)], wanted
    ), "row"


def _line(path: Path, number: int, line: str) -> dict[str, Any]:
    place = f"{path}, line {number}"
    try:
        return _fields(place, json.loads(line, object_pairs_hook=_object))
    except UsageError:
        raise
    except (ValueError, RecursionError) as fault:
        hint = "; give one object per line, or an array of them" if file_type(path) == ".json" else ""
        raise UsageError(f"{place}: {shown(line)} is not JSON ({one_line(str(fault), 80)}){hint}") from None


def _fields(place: str, item: Any) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise UsageError(f"{place}: {shown(item)} is not a JSON object with named fields")
    return item


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object as a dictionary; refuse one with a repeated field, which ``json`` would accept."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it has the field {shown(repeated)} twice")
    return fields


def _records(path: Path, objects: Objects, wanted: Sequence[str]) -> Iterator[Record]:
    if objects:  # objects may omit fields that are null, so collect the columns of all
        columns = list(dict.fromkeys(chain.from_iterable(fields for _, fields in objects)))
        names = [columns[index] for index in find_columns(str(path), wanted, columns)]
        for number, fields in objects:
            yield number, tuple(map(fields.get, names))
