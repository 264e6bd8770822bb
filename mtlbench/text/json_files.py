"""JSON lines, and JSON files with an array."""

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
    """Return some fields of the objects of a text that has one on each line.

    :raises UsageError: one line, for a line that is none, and a field that no line has.
    """
    lines = enumerate(text.split("\n"), start=1)
    return _records(path, [(number, _line(path, number, line)) for number, line in lines if line.strip()], wanted)


def read_json(path: Path, text: str, wanted: Sequence[str]) -> tuple[Iterable[Record], str]:
    """Return some fields of the objects of a text that has an array of them, or one on each line.

    :returns: the records, and what one is called.
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
        hint = "; give one object a line, or an array of them" if file_type(path) == ".json" else ""
        raise UsageError(f"{place}: {shown(line)} is not JSON ({one_line(str(fault), 80)}){hint}") from None


def _fields(place: str, item: Any) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise UsageError(f"{place}: {shown(item)} is not a JSON object with named fields")
    return item


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it has the field {shown(twice)} twice")
    return fields


def _records(path: Path, objects: Objects, wanted: Sequence[str]) -> Iterator[Record]:
    if objects:  # a field that is null may be left out of an object, so the columns are those of all
        columns = list(dict.fromkeys(chain.from_iterable(fields for _, fields in objects)))
        names = [columns[place] for place in find_columns(str(path), wanted, columns)]
        for number, fields in objects:
            yield number, tuple(map(fields.get, names))
