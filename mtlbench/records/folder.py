"""All records of a results folder: those of cells, and those of watched runs that go on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

from mtlbench.records.record import Record
from mtlbench.records.store import FolderContents, Store, no_records
from mtlbench.records.watched_log import watched_logs


def read_folder(folder: Path, tell: Callable[[str], None]) -> FolderContents:
    """Read what a report on a results folder is made of.

    :param folder: the results folder.
    :param tell: called with a message for the user for each unusable log.
    :raises UsageError: if there are no records.
    """
    contents = Store(folder).scan()
    contents.records += [cast("Record", record) for record in watched_logs(folder, tell)]
    if not contents.records and not contents.damaged:
        raise no_records(folder)
    return contents
