"""Copies of records without some of their side files: which ones, and how readers say so.

A side file that is missing without a word makes a record damaged. One that was left out on purpose is named in the
record's ``left_out``, as ``files`` named it. Put back, it gives the record of before, with the same checksum.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, cast

from mtlbench.errors import UsageError, unknown
from mtlbench.plan.cells import fingerprint
from mtlbench.records.record import Record

KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "history": ("history",),
    "predictions": ("predictions", "test_predictions"),
    "log": ("log",),
}
"""Kind of side files, as users name it → its names in a record's ``files``."""
PLURALS: Final = {"history": "histories", "log": "logs"}


def kinds_of(text: str) -> frozenset[str]:
    """Parse a list of kinds, and return their names in a record's ``files``.

    :param text: kinds of :data:`KINDS`, separated by commas.
    :raises UsageError: if a kind is unknown, or there is none.
    """
    kinds = [kind.strip() for kind in text.split(",") if kind.strip()]
    if not kinds:
        raise UsageError(f"--without needs kinds of side files: {', '.join(KINDS)}")
    for kind in kinds:
        if kind not in KINDS:
            raise unknown("kind of side file", kind, KINDS)
    return frozenset(name for kind in kinds for name in KINDS[kind])


def sealed(record: Record) -> Record:
    """Return a record with its checksum set anew, last.

    :param record: without ``path``, which belongs to no file.
    """
    content: Any = {name: value for name, value in record.items() if name != "checksum"}
    return cast(Record, {**content, "checksum": fingerprint(content)})


def holding(record: Record, names: Collection[str]) -> Record:
    """Return a record that has some of its side files, and names all others as left out.

    :param record: as read from a folder; the record itself does not change.
    :param names: names of side files, such as ``"history"``.
    """
    content: Any = {name: value for name, value in record.items() if name not in ("path", "left_out")}
    entries = {**record["files"], **record.get("left_out", {})}
    content["files"] = {name: entry for name, entry in entries.items() if name in names}
    others = {name: entry for name, entry in entries.items() if name not in names}
    if others:
        content["left_out"] = others
    return sealed(content)


def original(record: Record) -> str:
    """Return the checksum of the record before side files were left out of it: equal for all copies of one record."""
    if not record.get("left_out"):
        return record["checksum"]
    return holding(record, {*record["files"], *record["left_out"]})["checksum"]


def is_left_out(record: Mapping[str, Any], kind: str) -> bool:
    """Return whether side files of a kind were left out of a record on purpose.

    :param record: as read from a folder.
    :param kind: one of :data:`KINDS`, whose first name counts.
    """
    return kind in (record.get("left_out") or {})


def left_out(records: Iterable[Mapping[str, Any]], kinds: Iterable[str] = KINDS) -> str:
    """Return the clause on the side files that records lack on purpose, such as ``20 cells hold no histories, ...``.

    :param records: of one group.
    :param kinds: the kinds that the reader needs.
    :returns: empty where nothing was left out.
    """
    records = list(records)
    by_count: dict[int, list[str]] = {}
    for kind in kinds:
        count = sum(is_left_out(record, kind) for record in records)
        if count:
            by_count.setdefault(count, []).append(kind)
    clauses = [
        f"{count} cell{'s hold' if count > 1 else ' holds'} no "
        + " or ".join(PLURALS.get(kind, kind) if count > 1 else kind for kind in lacking)
        for count, lacking in by_count.items()
    ]
    merged = "it was" if by_count.keys() == {1} else "they were"
    return f"{' and '.join(clauses)}, left out when {merged} merged" if clauses else ""
