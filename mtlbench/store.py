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
import re
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mtlbench.disk import TEMPORARY, write_whole
from mtlbench.errors import UsageError
from mtlbench.plan import Cell, fingerprint
from mtlbench.record import SCHEMA, Record
from mtlbench.store_cache import RecordCache, Stamp

STALE_SECONDS = 3600.0


class NotRecorded(RuntimeError):
    """A record could not be written. The message says why, in one line; what was there before is still whole."""


@dataclass
class Scan:
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
        for leftover in self.folder.rglob(f"{TEMPORARY}*"):
            if time.time() - leftover.stat().st_mtime > STALE_SECONDS:  # a younger one may be another run's
                leftover.unlink(missing_ok=True)

    def path_of(self, record: Record) -> Path:
        """Return where a record lies."""
        slug = re.sub(r"[^A-Za-z0-9._=,+-]+", "_", record["method"]["spec"]).strip("_")
        suite = re.sub(r"[^A-Za-z0-9._-]+", "_", record["suite"])
        return self.folder / suite / slug / f"seed-{record['seed']}-{record['key'][:12]}.json"

    def save(self, record: Record, side_files: dict[str, tuple[str, bytes]]) -> Path:
        """Write a record and its side files; replace an older record of the same cell.

        :param side_files: what it is → (file ending, content), such as ``{"history": ("jsonl", b"...")}``.
        :raises NotRecorded: when it cannot be written: a full disk, no permission, a folder that was removed.
        """
        try:
            return self._save(record, side_files)
        except OSError as error:
            why = error.strerror if self.folder.is_dir() else "the folder is gone"
            raise NotRecorded(f"its record cannot be written to {self.folder}: {why}") from error

    def _save(self, record: Record, side_files: dict[str, tuple[str, bytes]]) -> Path:
        path = self.path_of(record)
        for folder in (path.parents[1], path.parent):  # not the results folder: it is made once, when a run begins
            folder.mkdir(exist_ok=True)
        record = {**record, "files": {}}
        for what, (ending, content) in side_files.items():
            digest = hashlib.sha256(content).hexdigest()
            name = f"{path.stem}.{digest[:8]}.{what}.{ending}"
            write_whole(path.parent / name, content)
            record["files"][what] = {"name": name, "bytes": len(content), "sha256": digest}
        record.pop("checksum", None)
        record["checksum"] = fingerprint(record)
        write_whole(path, json.dumps(record, indent=1, allow_nan=False).encode() + b"\n")
        current = {entry["name"] for entry in record["files"].values()}
        for old in path.parent.glob(f"{path.stem}.*"):
            if old != path and old.name not in current and not old.name.endswith(".damaged"):
                old.unlink(missing_ok=True)
        return path

    def scan(self) -> Scan:
        """Read every record. What cannot be read is named, with the reason, and left where it is.

        Where there are many, those that did not change since they were last verified come from a cache beside them.
        """
        found = Scan()
        with _uncollected():
            cache = RecordCache(self.folder)
            for path in self._paths():
                try:
                    found.records.append(_scanned(path, cache))
                except (OSError, ValueError) as error:
                    found.damaged.append((str(path), str(error)))
            cache.save()
        return found

    def state(self) -> dict[Path, Stamp]:
        """Return the stamp of every record file: when it is the same as before, so are the records."""
        stamps = {}
        for path in self._paths():
            with contextlib.suppress(FileNotFoundError):  # another process may have replaced it
                stamps[path] = Stamp.of(path)
        return stamps

    def _paths(self) -> list[Path]:
        """Return every record file, sorted."""
        return [path for path in sorted(self.folder.glob("*/*/*.json")) if not path.name.startswith(TEMPORARY)]

    def set_aside(self, cell: Cell) -> Path | None:
        """Rename a damaged record of a cell that is about to run again, so that nothing is overwritten."""
        for path in self.folder.glob(f"*/*/seed-{cell.seed}-{cell.key[:12]}.json"):
            try:
                read_record(path)
            except ValueError:
                kept = path.with_name(f"{path.name}.damaged")
                path.rename(kept)
                return kept
        return None


def read_record(path: Path) -> Record:
    """Read one record.

    :raises ValueError: when it is not JSON, of another schema, changed since it was written, or lacks a side file.
    """
    record = _verified(path.read_bytes())
    _find_side_files(record, path)
    return record


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
    :raises ValueError: as :func:`read_record`.
    """
    name, stamp = "/".join(path.parts[-3:]), Stamp.of(path)
    record = cache.get(name, stamp)
    if record is None:
        record = _verified(path.read_bytes())
        cache.put(name, stamp, record)
    _find_side_files(record, path)
    return record


def _verified(content: bytes) -> Record:
    """Parse a record.

    :raises ValueError: when it is not JSON, of another schema, or changed since it was written.
    """
    try:
        record = json.loads(content)
    except ValueError:
        raise ValueError("not JSON: cut off or overwritten") from None
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        found = record.get("schema") if isinstance(record, dict) else None
        raise ValueError(f"record schema {found}; this mtlbench reads schema {SCHEMA}")
    checksum = record.get("checksum")
    if checksum != fingerprint({name: value for name, value in record.items() if name != "checksum"}):
        raise ValueError("its checksum does not fit: changed since it was written")
    return record


def _find_side_files(record: Record, path: Path) -> None:
    """Say in a record where it lies, once its side files are found beside it.

    :raises ValueError: when one is missing or cut off.
    """
    for what, entry in record["files"].items():
        try:
            found = (path.parent / entry["name"]).stat()
        except OSError:
            found = None
        if found is None or not stat.S_ISREG(found.st_mode) or found.st_size != entry["bytes"]:
            raise ValueError(f"its {what} file {entry['name']} is missing or cut off")
    record["path"] = str(path)


def read_history(record: Record) -> Iterator[dict[str, Any]]:
    """Yield a record's history, one object per step or evaluation."""
    path = Path(record["path"]).parent / record["files"]["history"]["name"]
    for line in path.read_text(encoding="utf-8").splitlines():
        yield json.loads(line)
