"""``mtlbench merge``: the records of several results folders in one, and what two machines disagree on.

One cell has one key wherever it ran, so two records of it should hold the same scores. Of two records of a cell the
finished one is kept, then the older one; the order in which folders are named does not matter. Where two finished
records have different scores, the other is kept too, under ``FOLDER/.conflicts``: a results folder of its own that no
report of FOLDER reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from mtlbench.errors import UsageError
from mtlbench.records.record import Record
from mtlbench.records.record_file import read_side_file
from mtlbench.records.store import Store

CONFLICTS = ".conflicts"


@dataclass
class Merged:
    """What a merge did, or would do.

    :param copied: what was copied, as ``(path of the record, where it came from)``.
    :param present: how many records were there already, the same or better ones.
    :param conflicts: one line for each cell whose records have different scores.
    :param left: path and reason of each file that was left where it is.
    """

    copied: list[tuple[Path, str]] = field(default_factory=list)
    present: int = 0
    conflicts: list[str] = field(default_factory=list)
    left: list[tuple[str, str]] = field(default_factory=list)


def merge(sources: Sequence[Path], into: Path, *, dry_run: bool = False) -> Merged:
    """Copy the records of some folders, with their side files, into another; the sources are only read.

    :param into: made if it is not there; what it holds takes part like the sources' records.
    :raises UsageError: when a source does not exist, or ``into`` cannot be written to.
    :raises NotRecorded: when a record cannot be written; those before it are whole.
    """
    for folder in sources:
        if not folder.is_dir():
            raise UsageError(f"results folder {folder} does not exist")
    target, aside = Store(into), Store(into / CONFLICTS)
    if not dry_run:
        target.prepare()
    merged = Merged()
    here: dict[str, Record] = {}
    for record in target.scan().records:
        here[record["key"]] = min(record, here.get(record["key"], record), key=_rank)
    for folder in sources:
        if into.exists() and folder.samefile(into):
            continue
        found = Store(folder).scan()
        merged.left += found.damaged
        for record in found.records:
            try:
                for what in record["files"]:
                    read_side_file(record, what)
            except (OSError, ValueError) as error:
                merged.left.append((record["path"], str(error)))
                continue
            here[record["key"]] = _settle(here.get(record["key"]), record, target, aside, merged, dry_run)
    return merged


def _settle(
    present: Record | None, record: Record, target: Store, aside: Store, merged: Merged, dry_run: bool
) -> Record:
    """Decide between the record of a cell that is there and another one; return the one that is kept."""
    if present is not None and present["checksum"] == record["checksum"]:
        merged.present += 1
        return present
    kept, other = (record, None) if present is None else sorted((present, record), key=_rank)
    if other is not None and _differ(kept, other):
        merged.conflicts.append(_conflict(kept, other))
        if not dry_run:
            aside.prepare()
            aside.adopt(other, f"seed-{other['seed']}-{other['key'][:12]}-{other['checksum'][:8]}.json")
    if kept is present:
        merged.present += 1
        return present
    merged.copied.append((Path(*Path(record["path"]).parts[-3:]), str(Path(record["path"]).parents[2])))
    if dry_run:
        return record
    path = target.adopt(record)
    if present is not None and Path(present["path"]) != path:  # the same cell, of a suite under another name
        target.remove(present)
    return {**record, "path": str(path)}


def _rank(record: Record) -> tuple[bool, str, str]:
    """Sort the records of one cell: the one to keep first."""
    return record["status"] != "done", record["started"], record["checksum"]


def _differ(one: Record, other: Record) -> bool:
    return one["status"] == other["status"] == "done" and one["scores"] != other["scores"]


def _conflict(kept: Record, other: Record) -> str:
    """Say which scores of a cell differ, and what differed where they were made."""
    differing = [
        f"{task} {metric} {value} and {other['scores'].get(task, {}).get(metric)}"
        for task, scores in kept["scores"].items()
        for metric, value in scores.items()
        if value != other["scores"].get(task, {}).get(metric)
    ]
    before, after = (cast(dict[str, Any], record["environment"]) for record in (kept, other))
    places = [
        f"{name} {mine} and {theirs}"
        for part in ("versions", "machine")
        for name, mine in before.get(part, {}).items()
        if mine != (theirs := after.get(part, {}).get(name))
    ]
    return (
        f"{kept['method']['spec']} seed {kept['seed']} ({kept['key'][:12]}) has different scores in {kept['path']} "
        f"and {other['path']}: {'; '.join(differing) or 'other tasks'} "
        f"(made with {', '.join(places) or 'the same versions on like machines'})"
    )
