"""Records and histories of unfinished cells, from their checkpoints, and of watched runs, from their logs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from mtlbench.plan.cells import fingerprint
from mtlbench.records.history_form import HistoryRow, check_row
from mtlbench.records.leases import holders
from mtlbench.records.record_file import verified
from mtlbench.records.store import CHECKPOINTS, FolderContents, Store, no_records
from mtlbench.records.watched_log import watched_logs
from mtlbench.training.checkpoint import newest_files, read_parts
from mtlbench.training.history_rows import merged

if TYPE_CHECKING:
    from mtlbench.records.record import Record


def read_with_unfinished(results: Path, tell: Callable[[str], None]) -> FolderContents:
    """Read what the doctor examines: the records of a folder, and those of its unfinished cells and watched runs.

    :param results: the results folder.
    :param tell: called with a message for the user for each unusable checkpoint or log.
    :raises UsageError: if there are no records.
    """
    contents = Store(results).scan()
    contents.records += [cast("Record", record) for record in unfinished(results, tell)]
    if not contents.records and not contents.damaged:
        raise no_records(results)
    return contents


def unfinished(results: Path, tell: Callable[[str], None]) -> list[dict[str, Any]]:
    """Return the records of all cells with a checkpoint, as of that checkpoint, and of watched runs that go on.

    ``status`` is ``"running"`` if a process has the lease of the cell, else ``"stopped"``; ``history`` has the rows.

    :param results: the results folder.
    :param tell: called with a message for the user for each unusable checkpoint or log.
    """
    held = {holder.key for holder in holders(results) if not holder.gone}
    records = list(watched_logs(results, tell))
    for key, path in newest_files(results / CHECKPOINTS):
        try:
            record, history = _read(path)
        except FileNotFoundError:  # the cell has just ended, or its next checkpoint replaced this one
            continue
        except (OSError, ValueError) as error:
            tell(f"left out: {path}: {error}")
            continue
        records.append({**record, "status": "running" if key in held else "stopped", "history": history})
    return records


def _read(path: Path) -> tuple[dict[str, Any], list[HistoryRow]]:
    """Return the record and the rows of a checkpoint. Check their form: a valid hash does not vouch for its author.

    :raises OSError: if it cannot be read.
    :raises ValueError: if it is incomplete, or the record or the rows have an unexpected form.
    """
    record, histories = read_parts(path, "record", "histories")
    try:
        checked = verified(json.dumps({**record, "checksum": fingerprint(record)}).encode())
        if not isinstance(histories, list):
            raise TypeError("its histories are not a list")
        rows = [row for history in histories for row in json.loads(history)]
        for row in rows:
            check_row(row, checked["tasks"])
    except (LookupError, TypeError, RecursionError) as error:  # of an entirely different form
        raise ValueError(f"not a checkpoint: {type(error).__name__}: {error}") from None
    return dict(checked), rows if checked["method"]["joint"] else merged(rows)
