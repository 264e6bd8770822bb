"""Compare the same methods across two results folders, such as those of two versions or machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mtlbench.contract.entries import MethodEntry
from mtlbench.errors import UsageError
from mtlbench.records.groups import collect
from mtlbench.records.record import Record
from mtlbench.records.store import FolderContents, Store
from mtlbench.report.build import build
from mtlbench.report.result import Report


@dataclass(frozen=True)
class Pair:
    """Two results folders, with a label for each in reports.

    :param folders: the folders.
    :raises UsageError: if both are the same folder.
    """

    folders: tuple[Path, Path]

    def __post_init__(self) -> None:
        if self.folders[0].resolve() == self.folders[1].resolve():
            raise UsageError(f"--compare needs two folders; both are {self.folders[0]}")

    @property
    def labels(self) -> tuple[str, str]:
        """Names of the folders, or their full paths if the names are empty or the same."""
        first, second = (folder.name for folder in self.folders)
        return (first, second) if first and second and first != second else (str(self.folders[0]), str(self.folders[1]))

    def scan(self) -> tuple[FolderContents, FolderContents]:
        """Read both folders, with the label of the folder after each method's name: ``pcgrad (A)``.

        :raises UsageError: if a folder has no records.
        """
        unlabelled = Store(self.folders[0]).scan(), Store(self.folders[1]).scan()
        for folder, scan in zip(self.folders, unlabelled, strict=True):
            if not scan.records:
                raise UsageError(f"no records in {folder}, so there is nothing to compare")
        first, second = (
            FolderContents([_labelled(record, label) for record in scan.records], scan.damaged)
            for scan, label in zip(unlabelled, self.labels, strict=True)
        )
        return first, second

    def baseline(self, name: str) -> str:
        """Return the name of the baseline in the report.

        :param name: the baseline, with or without a folder's label; without one, the first folder's is added.
        """
        return name if name.endswith(tuple(f" ({label})" for label in self.labels)) else f"{name} ({self.labels[0]})"

    def report(
        self, scans: tuple[FolderContents, FolderContents], baseline: str, **options: Any
    ) -> tuple[Report, list[Record]]:
        """Return the report that compares the folders, and the records of both.

        :param scans: the records of both folders, as :meth:`scan` returns them.
        :param baseline: the baseline, as for :meth:`baseline`.
        :param options: further keyword arguments of :func:`mtlbench.report.build.build`.
        :raises UsageError: as :func:`mtlbench.report.build.build`.
        """
        first, second = scans
        records = [*first.records, *second.records]
        built = build(records, [*first.damaged, *second.damaged], baseline=self.baseline(baseline), **options)
        return self.annotated(built, scans), records

    def annotated(self, report: Report, scans: Sequence[FolderContents]) -> Report:
        """Return a report with notes on what a comparison of the folders means in each group.

        :param report: the report on both folders.
        :param scans: the records of both folders, as :meth:`scan` returns them.
        """
        groups = []
        for group in report.groups:
            first, second = ([record for record in scan.records if record["group"] == group.group] for scan in scans)
            groups.append(replace(group, notes=(*self._notes(first, second), *group.notes)))
        return replace(report, groups=tuple(groups))

    def _notes(self, first: list[Record], second: list[Record]) -> list[str]:
        """Return the notes on one group, given its records in both folders."""
        label, other_label = self.labels
        if not first or not second:
            only, other = (label, other_label) if first else (other_label, label)
            return [f"only {only} has cells of this group: nothing here is compared with {other}"]
        notes = []
        copies = {record["checksum"] for record in first} & {record["checksum"] for record in second}
        if copies:
            notes.append(
                f"{len(copies)} records are the very same in {label} and {other_label}, copied: they agree by necessity"
            )
        cells = collect([*first, *second])[0]
        if len(cells.single_task) > 1:
            notes.append(f"Δm is over {cells.methods[0]}, for the methods of both folders")
        return notes


def _labelled(record: Record, label: str) -> Record:
    """Return a record with the folder's label after the name and spec of its method."""
    method = record["method"]
    named: MethodEntry = {**method, "spec": f"{method['spec']} ({label})", "name": f"{method['name']} ({label})"}
    return {**record, "method": named}
