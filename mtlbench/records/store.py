"""Records on disk: one small JSON file per cell, with its history and predictions beside it.

``RESULTS/SUITE/METHOD/seed-S-KEY.json``. Side files are written first, under names that contain their hash, and the
record last, under a temporary name that is renamed: at any moment a reader sees the whole old record or the whole new
one. Folders can be merged by copying.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import json
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mtlbench.errors import UsageError
from mtlbench.host.disk import TEMPORARY, write_whole
from mtlbench.host.safe_names import folder_name
from mtlbench.plan.cells import Cell, fingerprint
from mtlbench.records.record import Record
from mtlbench.records.record_file import find_side_files, read_record, read_side_file, side_files_at, verified
from mtlbench.records.store_cache import FileStamp, RecordCache

STALE_SECONDS = 3600.0
"""Age after which a half-written file belongs to no run."""
CHECKPOINTS = ".checkpoints"
"""Folder of the checkpoints of unfinished cells, ``.checkpoints/KEY/``."""
DAMAGED = ".damaged"
"""Ending of the names of damaged records that were set aside."""


class NotRecorded(RuntimeError):
    """A record could not be written. The message is one line; an older record of the cell is still intact."""


@dataclass
class FolderContents:
    """Records of a folder, and damaged files.

    :param records: all valid records.
    :param damaged: path and reason of every file that is not a valid record.
    """

    records: list[Record] = field(default_factory=list)
    damaged: list[tuple[str, str]] = field(default_factory=list)

    def status(self) -> dict[str, str]:
        """Return key → ``"done"`` or ``"failed"``."""
        return {record["key"]: record["status"] for record in self.records}


def no_records(folder: Path) -> UsageError:
    """Return the error for a results folder without records."""
    return UsageError(f"no records in {folder}; run mtlbench run first, or give --results FOLDER")


class Store:
    """A results folder.

    :param folder: the folder; :meth:`prepare` creates it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def prepare(self) -> None:
        """Create the folder, and remove half-written files of killed runs.

        :raises UsageError: when the folder cannot be written to.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            probe = self.folder / f"{TEMPORARY}{os.getpid()}"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise UsageError(
                f"cannot write to results folder {self.folder}: {error.strerror}; give --results FOLDER"
            ) from None
        for leftover in half_written(self.folder):
            leftover.unlink(missing_ok=True)

    def path_of(self, record: Record) -> Path:
        """Return the path of a record's file."""
        suite, method = folder_name(record["suite"]), folder_name(record["method"]["spec"])
        return self.folder / suite / method / f"seed-{record['seed']}-{record['key'][:12]}.json"

    def save(self, record: Record, side_files: dict[str, tuple[str, bytes]]) -> Path:
        """Write a record and its side files; replace an older record of the same cell.

        :param record: without ``files`` and ``checksum``, which are set here.
        :param side_files: kind → (file ending, content), such as ``{"history": ("jsonl", b"...")}``.
        :returns: the path of the record's file.
        :raises NotRecorded: when it cannot be written: a full disk, no permission, a folder that was removed.
        """
        path, contents = self.path_of(record), dict[str, bytes]()
        record = {**record, "files": {}}
        for what, (ending, content) in side_files.items():
            digest = hashlib.sha256(content).hexdigest()
            name = f"{path.stem}.{digest[:8]}.{what}.{ending}"
            contents[name] = content
            record["files"][what] = {"name": name, "bytes": len(content), "sha256": digest}
        record.pop("checksum", None)
        record["checksum"] = fingerprint(record)
        self._write(path, json.dumps(record, indent=1, allow_nan=False).encode() + b"\n", contents)
        return path

    def adopt(self, record: Record, name: str | None = None) -> Path:
        """Copy a record, byte for byte, and its side files from another folder to the same place in this one.

        :param record: as read from the other folder.
        :param name: new name of the record's file; by default it stays.
        :returns: the path of the copy.
        :raises ValueError: when the hash of a side file is not the recorded one.
        :raises NotRecorded: as :meth:`save`.
        """
        source = Path(record["path"])
        contents = {entry["name"]: read_side_file(record, what) for what, entry in record["files"].items()}
        path = self.folder.joinpath(*source.parts[-3:-1], name or source.name)
        self._write(path, source.read_bytes(), contents)
        return path

    def remove(self, record: Record) -> None:
        """Delete a record, then its side files: an orphaned side file is harmless."""
        path = Path(record["path"])
        path.unlink(missing_ok=True)
        for entry in record["files"].values():
            (path.parent / entry["name"]).unlink(missing_ok=True)

    def _write(self, path: Path, content: bytes, side_files: dict[str, bytes]) -> None:
        """Write side files, then the record; then remove the side files of the replaced record.

        :raises NotRecorded: when that fails.
        """
        try:
            for folder in (path.parents[1], path.parent):  # the results folder is created once, by prepare
                folder.mkdir(exist_ok=True)
                if folder.is_symlink():
                    raise NotRecorded(f"its record cannot be written: {folder} is a link, which may lead anywhere")
            before = side_files_at(path)
            for name, data in side_files.items():
                write_whole(path.parent / name, data)
            write_whole(path, content)
            for name in before - side_files.keys():
                (path.parent / name).unlink(missing_ok=True)
        except OSError as error:
            why = error.strerror if self.folder.is_dir() else "the folder is gone"
            raise NotRecorded(f"its record cannot be written to {self.folder}: {why}") from error

    def scan(self) -> FolderContents:
        """Read every record. Files that are not valid records are reported with the reason, and left where they are.

        In large folders, records that have not changed since they were last verified come from a cache.
        """
        contents = FolderContents()
        with _uncollected():
            cache = RecordCache(self.folder)
            for path in self._paths():
                try:
                    contents.records.append(_scanned(path, cache))
                except (OSError, ValueError) as error:
                    contents.damaged.append((str(path), str(error)))
            cache.save()
        return contents

    def state(self) -> dict[Path, FileStamp]:
        """Return the stamp of every record file; while stamps stay the same, so do the records."""
        stamps = {}
        for path in self._paths():
            with contextlib.suppress(FileNotFoundError):  # another process may have replaced it
                stamps[path] = FileStamp.of(path)
        return stamps

    def _paths(self) -> list[Path]:
        """Return every record file, sorted. Hidden files are caches, checkpoints, or half written."""
        paths = sorted(self.folder.glob("*/*/*.json"))
        return [path for path in paths if not any(part.startswith(".") for part in path.parts[-3:])]

    def set_aside(self, cell: Cell) -> Path | None:
        """Rename a damaged record of a cell that is about to run again, so that it is not overwritten.

        :returns: the new path; ``None`` where no record of the cell is damaged.
        """
        for path in self.folder.glob(f"*/*/seed-{cell.seed}-{cell.key[:12]}.json"):
            try:
                read_record(path)
            except (OSError, ValueError):
                aside = path.with_name(f"{path.name}{DAMAGED}")
                if aside.exists():
                    aside = path.with_name(f"{path.name}.{time.time_ns()}{DAMAGED}")
                path.rename(aside)
                return aside
        return None


def half_written(folder: Path) -> Iterator[Path]:
    """Yield half-written files of killed processes."""
    return (path for path in folder.rglob(f"{TEMPORARY}*") if is_stale(path))


def is_stale(path: Path) -> bool:
    """Whether a file belongs to no active run: older than an hour, or dated in the future (the clock was set back)."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(status.st_mode) and abs(time.time() - status.st_mtime) > STALE_SECONDS


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Pause the garbage collector, which would walk over all records again and again, and find no garbage."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _scanned(path: Path, cache: RecordCache) -> Record:
    """Read one record, from the cache if its file has not changed.

    :raises OSError: when it cannot be read.
    :raises ValueError: as :func:`mtlbench.records.record_file.read_record`.
    """
    name, stamp = "/".join(path.parts[-3:]), FileStamp.of(path)
    record = cache.get(name, stamp)
    if record is None:
        record = verified(path.read_bytes())
        cache.put(name, stamp, record)
    find_side_files(record, path)
    return record
