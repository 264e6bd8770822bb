"""The log of a watched run: appended while the training goes on, and turned into a record at its end."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from mtlbench.errors import UsageError
from mtlbench.host.disk import TEMPORARY, make_output_folder
from mtlbench.records.history_form import HistoryRow
from mtlbench.records.record import Record
from mtlbench.records.store import Store
from mtlbench.records.watched import summarized
from mtlbench.records.watched_log import WatchedLog, log_path, read_log


class Log:
    """The log of one run, open for writing. Its lock ends with the process.

    :param folder: the results folder, which is created.
    :param header: the record without its summary.
    :param rows: earlier ones of the same run; those in the log count where there is one.
    :raises UsageError: when the log cannot be written, or another process writes it.
    """

    def __init__(self, folder: Path, header: Record, rows: Iterable[HistoryRow] = ()) -> None:
        self._folder, self._path = folder, log_path(folder, header["suite"])
        make_output_folder(self._path.parent)
        for link in (self._path.parent, self._path):
            if link.is_symlink():
                raise UsageError(f"cannot write {link}: it is a link, which may lead anywhere")
        try:
            self._file: BinaryIO = self._path.open("ab")
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise UsageError(f"another process, or another watch, writes {self._path}; give another name=") from None
        except OSError as error:
            raise UsageError(f"cannot write {self._path}: {error.strerror}") from None
        if self._path.stat().st_size == 0:
            self.append([_stored(header), *rows])
        else:  # a line that was half-written when a process was killed
            self._file.truncate(read_log(self._path).starts[-1])

    def append(self, rows: Iterable[Any]) -> None:
        """Append rows. Once this returns they outlive the process.

        :raises OSError: when they cannot be written, as on a full disk.
        """
        self._file.write(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
        self._file.flush()

    def forget(self, step: int) -> None:
        """Remove the rows of a step and of all after it: training goes on from an earlier checkpoint.

        :param step: the first one that is trained again.
        """
        log = read_log(self._path)
        for row, start in zip(log.rows, log.starts, strict=False):
            if row["step"] >= step:
                self._file.truncate(start)
                return

    def read(self) -> WatchedLog:
        """Return the log's content."""
        return read_log(self._path)

    def rewrite_header(self, header: Record) -> None:
        """Replace the header and keep the rows. The old file stays whole until the new one takes its place.

        :param header: the new one.
        """
        rows = self.read().rows
        temporary = self._path.with_name(f"{TEMPORARY}{os.getpid()}-{self._path.name}")
        temporary.unlink(missing_ok=True)
        replacement = temporary.open("ab")  # after a truncation, only appending goes on at the end
        fcntl.flock(replacement, fcntl.LOCK_EX)  # before another process can see the file
        old, self._file = self._file, replacement
        self.append([_stored(header), *rows])
        temporary.replace(self._path)
        old.close()

    def finish(self) -> Path | None:
        """Write the record with its history, and remove the log, and its folder with the last one.

        :returns: the path of the record; ``None`` where there are no rows, and so no record.
        :raises NotRecorded: when it cannot be written; the log stays.
        """
        log, path = self.read(), None
        if log.rows:
            store = Store(self._folder)
            store.prepare()
            content = b"".join(json.dumps(row).encode() + b"\n" for row in log.rows)
            path = store.save(summarized(log.header, log.rows), {"history": ("jsonl", content)})
        self._path.unlink()
        self.release()
        with contextlib.suppress(OSError):
            self._path.parent.rmdir()
        return path

    def release(self) -> None:
        """Close the file, which ends the lock; a process that was forked meanwhile keeps neither."""
        fcntl.flock(self._file, fcntl.LOCK_UN)
        self._file.close()


def _stored(header: Record) -> dict[str, Any]:
    return {name: value for name, value in header.items() if name not in ("path", "checksum")} | {"files": {}}
