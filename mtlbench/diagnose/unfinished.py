"""Cells that are not at their end: how far their training got, from the checkpoints that they go on from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mtlbench.plan.cells import fingerprint
from mtlbench.records.history_form import HistoryRow, check_row
from mtlbench.records.leases import holders
from mtlbench.records.record_file import verified
from mtlbench.records.store import CHECKPOINTS
from mtlbench.training.checkpoint import newest_files, read_parts
from mtlbench.training.history_rows import merged


def unfinished(results: Path, tell: Callable[[str], None]) -> list[dict[str, Any]]:
    """Return the records of cells that have a checkpoint, as these stood when it was written.

    ``status`` is ``"running"`` where a process has the cell's lease, else ``"stopped"``; ``history`` are the rows.

    :param tell: gets a line for people about every checkpoint that is no use.
    """
    held = {one.key for one in holders(results) if not one.gone}
    found = []
    for key, path in newest_files(results / CHECKPOINTS):
        try:
            record, history = _read(path)
        except FileNotFoundError:  # the cell ended just now, or its next checkpoint replaced this one
            continue
        except (OSError, ValueError) as error:
            tell(f"left out: {path}: {error}")
            continue
        found.append({**record, "status": "running" if key in held else "stopped", "history": history})
    return found


def _read(path: Path) -> tuple[dict[str, Any], list[HistoryRow]]:
    """Return the record and the rows in a checkpoint, whose hash is right, whoever wrote it.

    :raises OSError: when it cannot be read.
    :raises ValueError: when it is not whole, or they are not of the form that readers rely on.
    """
    record, histories = read_parts(path, "record", "histories")
    try:
        checked = verified(json.dumps({**record, "checksum": fingerprint(record)}).encode())
        if not isinstance(histories, list):
            raise TypeError("its histories are not a list")
        rows = [row for history in histories for row in json.loads(history)]
        for row in rows:
            check_row(row, checked["tasks"])
    except (LookupError, TypeError, RecursionError) as error:  # of another form altogether
        raise ValueError(f"not a checkpoint: {type(error).__name__}: {error}") from None
    return dict(checked), rows if checked["method"]["joint"] else merged(rows)
