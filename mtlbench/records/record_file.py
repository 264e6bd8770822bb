"""Read records and their side files. Everything is checked before use, and nothing is executed.

A results folder may come from anywhere: by mail, from a shared disk, from a damaged archive. A record counts only if
its checksum matches and it has the form that every reader relies on; a side file only if it lies beside its record and
has the recorded hash.
"""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from mtlbench.host.safe_names import visible
from mtlbench.plan.cells import fingerprint
from mtlbench.records.history_form import HistoryRow, check_row, check_rows
from mtlbench.records.record import SCHEMA, Record, check_record


def verified(content: bytes) -> Record:
    """Parse and check a record. Characters that do not print, such as escape sequences, are written out.

    :param content: of a record's file.
    :raises ValueError: when it is not JSON, has another schema or form, or changed since it was written.
    """
    try:
        record = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError("not JSON: cut off or overwritten") from None
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        version = record.get("schema") if isinstance(record, dict) else None
        raise ValueError(f"record schema {version}; this mtlbench reads schema {SCHEMA}")
    checksum = record.get("checksum")
    if checksum != fingerprint({name: value for name, value in record.items() if name != "checksum"}):
        raise ValueError("its checksum does not fit: changed since it was written")
    check_record(record)
    checked: Any = _visible(record) if b"\\" in content or not content.isascii() else record
    return cast(Record, checked)


def _visible(value: Any) -> Any:
    """Return JSON data with every string made visible."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {visible(key): _visible(item) for key, item in value.items()}
    return [_visible(item) for item in value] if isinstance(value, list) else value


def read_record(path: Path) -> Record:
    """Read one record and find its side files.

    :param path: of the record's file.
    :raises OSError: when it cannot be read.
    :raises ValueError: as :func:`verified` and :func:`find_side_files`.
    """
    record = verified(path.read_bytes())
    find_side_files(record, path)
    return record


def side_files_at(path: Path) -> set[str]:
    """Return the names of the side files of the record at a path; none where there is no valid record."""
    try:
        return {entry["name"] for entry in verified(path.read_bytes())["files"].values()}
    except (OSError, ValueError):
        return set()


def find_side_files(record: Record, path: Path) -> None:
    """Check that a record's side files lie beside it, then set ``record["path"]``. A link does not count as a file.

    :param record: is changed.
    :param path: of the record's file.
    :raises ValueError: when a side file is missing or cut off.
    """
    for what, entry in record["files"].items():
        try:
            status = (path.parent / entry["name"]).lstat()
        except OSError:
            status = None
        if status is None or not stat.S_ISREG(status.st_mode) or status.st_size != entry["bytes"]:
            raise ValueError(f"its {what} file {entry['name']} is missing or cut off")
    record["path"] = str(path)


def read_side_file(record: Mapping[str, Any], what: str) -> bytes:
    """Return the content of a side file after checking its hash.

    :param record: as read from a folder, with its path.
    :param what: kind of the side file, such as ``"history"``.
    :raises OSError: when the file cannot be read.
    :raises ValueError: when the record has no such file, or the file changed since it was written.
    """
    entry = record["files"].get(what)
    if entry is None:
        left_out = what in (record.get("left_out") or {})
        raise ValueError(f"its {what} was left out when it was merged" if left_out else f"it has no {what}")
    content = (Path(record["path"]).parent / entry["name"]).read_bytes()
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise ValueError(f"its {what} file {entry['name']} changed since it was written")
    return content


def read_history(record: Mapping[str, Any]) -> Iterator[HistoryRow]:
    """Yield the rows of a record's history, one per step or evaluation.

    :param record: as read from a folder, with its path; or that of an unfinished run, which has the rows itself.
    :raises OSError: when the file cannot be read.
    :raises ValueError: as :func:`read_side_file`, and when a line is not JSON or has not the form of a row.
    """
    if "history" in record:
        yield from record["history"]
        return
    content, tasks = read_side_file(record, "history"), record["tasks"]
    plain = content.isascii() and b"\\" not in content  # nothing to make visible
    rows = check_rows(content, tasks) if plain else None
    yield from rows if rows is not None else (read_row(line, tasks) for line in content.decode().splitlines())


def read_row(line: str, tasks: Collection[str]) -> HistoryRow:
    """Parse and check a line of a history. Characters that do not print are written out, as in records.

    :param line: of the file.
    :param tasks: the tasks of its record.
    :raises ValueError: when it is not JSON, or has not the form of a row.
    """
    try:
        row = json.loads(line)
    except RecursionError:
        raise ValueError("its history is nested too deeply") from None
    return check_row(_visible(row) if "\\" in line or not line.isascii() else row, tasks)
