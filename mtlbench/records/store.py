"""Records on disk: one small JSON file per cell is the truth; its history and predictions lie beside it.

``RESULTS/SUITE/METHOD/seed-S-KEY.json``. Side files are written first, under names that hold their own hash, and the
record last, under a temporary name that is renamed: at any moment a reader sees the old record, whole, or the new one.
Folders merge by copying.
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
CHECKPOINTS = ".checkpoints"
"""The folder of unfinished cells' checkpoints, ``.checkpoints/KEY/``."""
DAMAGED = ".damaged"
"""Ends the names of damaged records that were set aside."""


class NotRecorded(RuntimeError):
    """A record could not be written. The message says why, in one line; what was there before is still whole."""


@dataclass
class FolderContents:
    """Every record of a folder, and each file that is not one, with the reason."""

    records: list[Record] = field(default_factory=list)
    damaged: list[tuple[str, str]] = field(default_factory=list)

    def status(self) -> dict[str, str]:
        """Return key → ``"done"`` or ``"failed"``."""
        return {record["key"]: record["status"] for record in self.records}


class Store:
    """A results folder.

    :param folder: made by :meth:`prepare`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def prepare(self) -> None:
        """Make the folder, and clear what a killed run left half written.

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
        """Return where a record lies."""
        suite, method = folder_name(record["suite"]), folder_name(record["method"]["spec"])
        return self.folder / suite / method / f"seed-{record['seed']}-{record['key'][:12]}.json"

    def save(self, record: Record, side_files: dict[str, tuple[str, bytes]]) -> Path:
        """Write a record and its side files; replace an older record of the same cell.

        :param side_files: what it is → (file ending, content), such as ``{"history": ("jsonl", b"...")}``.
        :raises NotRecorded: when it cannot be written: a full disk, no permission, a folder that was removed.
        """
        path, beside = self.path_of(record), {}
        record = {**record, "files": {}}
        for what, (ending, content) in side_files.items():
            digest = hashlib.sha256(content).hexdigest()
            name = f"{path.stem}.{digest[:8]}.{what}.{ending}"
            beside[name] = content
            record["files"][what] = {"name": name, "bytes": len(content), "sha256": digest}
        record.pop("checksum", None)
        record["checksum"] = fingerprint(record)
        self._write(path, json.dumps(record, indent=1, allow_nan=False).encode() + b"\n", beside)
        return path

    def adopt(self, record: Record, name: str | None = None) -> Path:
        """Copy a record, byte for byte, and its side files from another folder, to the same place in this one.

        :param name: of the record's file, if not the one it has.
        :raises ValueError: when a side file is not the one that was recorded.
        :raises NotRecorded: as :meth:`save`.
        """
        source = Path(record["path"])
        beside = {entry["name"]: read_side_file(record, what) for what, entry in record["files"].items()}
        path = self.folder.joinpath(*source.parts[-3:-1], name or source.name)
        self._write(path, source.read_bytes(), beside)
        return path

    def remove(self, record: Record) -> None:
        """Remove a record and its side files, the record first: a side file without one harms nobody."""
        path = Path(record["path"])
        path.unlink(missing_ok=True)
        for entry in record["files"].values():
            (path.parent / entry["name"]).unlink(missing_ok=True)

    def _write(self, path: Path, content: bytes, beside: dict[str, bytes]) -> None:
        """Write side files, then the record; then remove the side files of the record that was there.

        :raises NotRecorded: when it cannot be done.
        """
        try:
            for folder in (path.parents[1], path.parent):  # not the results folder: it is made once, when a run begins
                folder.mkdir(exist_ok=True)
                if folder.is_symlink():
                    raise NotRecorded(f"its record cannot be written: {folder} is a link, which may lead anywhere")
            before = side_files_at(path)
            for name, data in beside.items():
                write_whole(path.parent / name, data)
            write_whole(path, content)
            for name in before - beside.keys():
                (path.parent / name).unlink(missing_ok=True)
        except OSError as error:
            why = error.strerror if self.folder.is_dir() else "the folder is gone"
            raise NotRecorded(f"its record cannot be written to {self.folder}: {why}") from error

    def scan(self) -> FolderContents:
        """Read every record. What cannot be read is named, with the reason, and left where it is.

        Where there are many, those that did not change since they were last verified come from a cache beside them.
        """
        found = FolderContents()
        with _uncollected():
            cache = RecordCache(self.folder)
            for path in self._paths():
                try:
                    found.records.append(_scanned(path, cache))
                except (OSError, ValueError) as error:
                    found.damaged.append((str(path), str(error)))
            cache.save()
        return found

    def state(self) -> dict[Path, FileStamp]:
        """Return the stamp of every record file: when it is the same as before, so are the records."""
        stamps = {}
        for path in self._paths():
            with contextlib.suppress(FileNotFoundError):  # another process may have replaced it
                stamps[path] = FileStamp.of(path)
        return stamps

    def _paths(self) -> list[Path]:
        """Return every record file, sorted. What begins with a dot is none: caches, checkpoints, files half written."""
        found = sorted(self.folder.glob("*/*/*.json"))
        return [path for path in found if not any(part.startswith(".") for part in path.parts[-3:])]

    def set_aside(self, cell: Cell) -> Path | None:
        """Rename a damaged record of a cell that is about to run again, so that nothing is overwritten."""
        for path in self.folder.glob(f"*/*/seed-{cell.seed}-{cell.key[:12]}.json"):
            try:
                read_record(path)
            except (OSError, ValueError):
                kept = path.with_name(f"{path.name}{DAMAGED}")
                if kept.exists():
                    kept = path.with_name(f"{path.name}.{time.time_ns()}{DAMAGED}")
                path.rename(kept)
                return kept
        return None


def half_written(folder: Path) -> Iterator[Path]:
    """Yield the files that killed processes left half written."""
    return (path for path in folder.rglob(f"{TEMPORARY}*") if is_stale(path))


def is_stale(path: Path) -> bool:
    """Whether a file is of no run that goes on: older than an hour, or of a time to come, as after a clock set back."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(found.st_mode) and abs(time.time() - found.st_mtime) > STALE_SECONDS


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Pause the garbage collector: while records pile up it walks over all of them again and again and finds none."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _scanned(path: Path, cache: RecordCache) -> Record:
    """Read one record, from the cache where it is the same as there.

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
