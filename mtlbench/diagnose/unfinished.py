"""Cells that are not at their end: how far their training got, from the checkpoints that they go on from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from mtlbench.checkpoint import newest_files, read_parts
from mtlbench.history import merged
from mtlbench.leases import holders
from mtlbench.plan import fingerprint
from mtlbench.record import Record
from mtlbench.record_file import verified
from mtlbench.store import CHECKPOINTS


def unfinished(results: Path, tell: Callable[[str], None]) -> list[Record]:
    """Return the records of cells that have a checkpoint, as these stood when it was written.

    ``status`` is ``"running"`` where a process has the cell's lease, else ``"stopped"``; ``history`` are the rows.

    :param tell: gets a line for people about every checkpoint that is no use.
    """
    held = {one.key for one in holders(results) if not one.gone}
    found = []
    for key, path in newest_files(results / CHECKPOINTS):
        try:
            record, outcome = read_parts(path, "record", "outcome")
            record = verified(json.dumps({**record, "checksum": fingerprint(record)}).encode())
            rows = json.loads(outcome["history"])
            history = rows if record["method"]["joint"] else merged(rows)
        except FileNotFoundError:  # the cell ended just now, or its next checkpoint replaced this one
            continue
        except (OSError, ValueError) as error:
            tell(f"left out: {path}: {error}")
            continue
        found.append({**record, "status": "running" if key in held else "stopped", "history": history})
    return found
