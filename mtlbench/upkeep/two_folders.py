"""Two results folders read as one, so that the same methods may be compared across them: two versions, two machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mtlbench.errors import UsageError
from mtlbench.records.entries import MethodEntry
from mtlbench.records.groups import collect
from mtlbench.records.record import Record
from mtlbench.records.store import FolderContents, Store
from mtlbench.report.result import Report


@dataclass(frozen=True)
class Pair:
    """Two folders, and what each is called in a report.

    :raises UsageError: when both are the same folder.
    """

    folders: tuple[Path, Path]

    def __post_init__(self) -> None:
        if self.folders[0].resolve() == self.folders[1].resolve():
            raise UsageError(f"--compare needs two folders; both are {self.folders[0]}")

    @property
    def labels(self) -> tuple[str, str]:
        """The folders' own names; as they were given where these are the same."""
        first, second = (folder.name for folder in self.folders)
        return (first, second) if first and second and first != second else (str(self.folders[0]), str(self.folders[1]))

    def scan(self) -> tuple[FolderContents, FolderContents]:
        """Read both, each method under the name of its folder: ``pcgrad (A)``.

        :raises UsageError: when one has no records.
        """
        found = Store(self.folders[0]).scan(), Store(self.folders[1]).scan()
        for folder, scan in zip(self.folders, found, strict=True):
            if not scan.records:
                raise UsageError(f"no records in {folder}, so there is nothing to compare")
        first, second = (
            FolderContents([_labelled(record, label) for record in scan.records], scan.damaged)
            for scan, label in zip(found, self.labels, strict=True)
        )
        return first, second

    def baseline(self, name: str) -> str:
        """Return the baseline's name in the report: the first folder's, unless the user named a folder."""
        return name if name.endswith(tuple(f" ({label})" for label in self.labels)) else f"{name} ({self.labels[0]})"

    def annotated(self, report: Report, scans: Sequence[FolderContents]) -> Report:
        """Say of each group what a comparison across the folders can be: none where only one has cells of it."""
        groups = []
        for group in report.groups:
            first, second = ([r for r in scan.records if r["group"] == group.group] for scan in scans)
            groups.append(replace(group, notes=(*self._notes(first, second), *group.notes)))
        return replace(report, groups=tuple(groups))

    def _notes(self, first: list[Record], second: list[Record]) -> list[str]:
        """Return what is to be known of one group, whose records in both folders are given."""
        here, there = self.labels
        if not first or not second:
            only, other = (here, there) if first else (there, here)
            return [f"only {only} has cells of this group: nothing here is compared with {other}"]
        notes = []
        same = {r["checksum"] for r in first} & {r["checksum"] for r in second}
        if same:
            notes.append(
                f"{len(same)} records are the very same in {here} and {there}, copied: they agree by necessity"
            )
        cells = collect([*first, *second])[0]
        if len(cells.single_task) > 1:
            notes.append(f"Δm is over {cells.methods[0]}, for the methods of both folders")
        return notes


def _labelled(record: Record, label: str) -> Record:
    """Return a record whose method says which folder it came from."""
    method = record["method"]
    named: MethodEntry = {**method, "spec": f"{method['spec']} ({label})", "name": f"{method['name']} ({label})"}
    return {**record, "method": named}
