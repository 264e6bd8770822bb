"""``mtlbench merge``: combine the records of several results folders, and report cells whose scores differ.

A cell has the same key wherever it ran, so its records should have the same scores. Of two records of a cell, the merge
keeps the finished one, or else the older one; the order of the folders does not matter. If both are finished and their
scores differ, the merge also keeps the other one, under ``FOLDER/.conflicts``: a separate results folder, which reports
on FOLDER do not read.

Copies may leave out side files (:mod:`mtlbench.records.left_out`). Copies of one record, told by its checksum before
any was left out, are put together: the kept one has the side files of all. Of different records of a cell that are
finished, the one that lacks fewest is kept, then the older one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from mtlbench.errors import UsageError
from mtlbench.records.left_out import holding, original
from mtlbench.records.record import Record
from mtlbench.records.record_file import read_side_file
from mtlbench.records.store import Store

CONFLICTS = ".conflicts"
"""Name of the folder with the records whose scores differ from those that were kept."""


@dataclass
class Merged:
    """Result of a merge; for a dry run, what the merge would do.

    :param copied: path within the results folder and source folder of each copied record.
    :param present: number of source records for which the target already had the same or a better one.
    :param conflicts: one line for each cell whose records have different scores.
    :param left: path and reason of each damaged file that was not copied.
    :param left_out: size in bytes of each side file that was left out of a copy on purpose.
    """

    copied: list[tuple[Path, str]] = field(default_factory=list)
    present: int = 0
    conflicts: list[str] = field(default_factory=list)
    left: list[tuple[str, str]] = field(default_factory=list)
    left_out: list[int] = field(default_factory=list)


def merge(sources: Sequence[Path], into: Path, *, without: Collection[str] = (), dry_run: bool = False) -> Merged:
    """Copy the records of several folders, with their side files, into one folder. The sources do not change.

    :param sources: the results folders to copy from.
    :param into: the results folder to copy to; created if missing. Its own records count like those of the sources.
    :param without: names of side files, such as ``"history"``, that are left out of the copies. They are checked like
        those that are copied, and the copies name them. Records that ``into`` has already keep theirs.
    :param dry_run: whether to leave ``into`` unchanged and return what the merge would do.
    :raises UsageError: if a source does not exist, if ``into`` cannot be written, or if it is a source and side files
        are to be left out.
    :raises NotRecorded: if a record cannot be written; all earlier ones are complete.
    """
    for folder in sources:
        if not folder.is_dir():
            raise UsageError(f"results folder {folder} does not exist")
        if without and into.exists() and folder.samefile(into):
            raise UsageError(f"{into} is copied from: side files are left out of copies only; give another --into")
    target, conflicts = Store(into), Store(into / CONFLICTS)
    if not dry_run:
        target.prepare()
    merged = Merged()
    records: dict[str, Record] = {}
    for record in target.scan().records:
        records[record["key"]] = min(record, records.get(record["key"], record), key=_rank)
    for folder in sources:
        if into.exists() and folder.samefile(into):
            continue
        source = Store(folder).scan()
        merged.left += source.damaged
        for record in source.records:
            try:
                for kind in record["files"]:
                    read_side_file(record, kind)
            except (OSError, ValueError) as error:
                merged.left.append((record["path"], str(error)))
                continue
            if not record["files"].keys().isdisjoint(without):
                path = record["path"]
                record = {**holding(record, record["files"].keys() - set(without)), "path": path}
            records[record["key"]] = _settle(records.get(record["key"]), record, target, conflicts, merged, dry_run)
    return merged


def _settle(
    present: Record | None, record: Record, target: Store, conflicts: Store, merged: Merged, dry_run: bool
) -> Record:
    """Choose between the present record of a cell and another one; return the chosen one."""
    same = present is not None and original(present) == original(record)
    if present is not None and same:
        if record["files"].keys() <= present["files"].keys():
            merged.present += 1
            return present
        source = record["path"]
        record = {**holding(record, record["files"].keys() | present["files"].keys()), "path": source}
    kept, other = (record, None) if present is None or same else sorted((present, record), key=_rank)
    if other is not None and _differ(kept, other):
        merged.conflicts.append(_conflict(kept, other))
        if not dry_run:
            conflicts.prepare()
            conflicts.adopt(other, f"seed-{other['seed']}-{other['key'][:12]}-{other['checksum'][:8]}.json")
    if kept is present:
        merged.present += 1
        return present
    merged.copied.append((Path(*Path(record["path"]).parts[-3:]), str(Path(record["path"]).parents[2])))
    merged.left_out += [entry["bytes"] for entry in record.get("left_out", {}).values()]
    if dry_run:
        return record
    if present is not None and same:
        path = target.adopt(record, Path(present["path"]).name, present)
    else:
        path = target.adopt(record)
    if present is not None and Path(present["path"]) != path:  # the same cell, under another name of the suite
        target.remove(present)
    return {**record, "path": str(path)}


def _rank(record: Record) -> tuple[bool, int, str, str]:
    """Return the sort key of a record among those of its cell: the record to keep comes first."""
    return record["status"] != "done", len(record.get("left_out", {})), record["started"], record["checksum"]


def _differ(record: Record, other: Record) -> bool:
    return record["status"] == other["status"] == "done" and record["scores"] != other["scores"]


def _conflict(kept: Record, other: Record) -> str:
    """Return a line with the scores of a cell that differ, and the differences between the environments."""
    differing = [
        f"{task} {metric} {value} and {other['scores'].get(task, {}).get(metric)}"
        for task, scores in kept["scores"].items()
        for metric, value in scores.items()
        if value != other["scores"].get(task, {}).get(metric)
    ]
    ours, theirs = (cast(dict[str, Any], record["environment"]) for record in (kept, other))
    environments = [
        f"{name} {value} and {other_value}"
        for part in ("versions", "machine")
        for name, value in ours.get(part, {}).items()
        if value != (other_value := theirs.get(part, {}).get(name))
    ]
    return (
        f"{kept['method']['spec']} seed {kept['seed']} ({kept['key'][:12]}) has different scores in {kept['path']} "
        f"and {other['path']}: {'; '.join(differing) or 'other tasks'} "
        f"(made with {', '.join(environments) or 'the same versions on like machines'})"
    )
