"""Logs of watched runs that are not at their end.

While the training goes on, ``RESULTS/.watched/NAME.jsonl`` grows: the record without its summary in the first line,
then the rows of the history. At the end it becomes an ordinary record with a history beside it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from mtlbench.plan.cells import fingerprint
from mtlbench.records.history_form import HistoryRow
from mtlbench.records.record import Record
from mtlbench.records.record_file import read_row, verified
from mtlbench.records.store_cache import FileStamp
from mtlbench.records.watched import summarized

LOGS = ".watched"
"""Folder of the logs."""


@dataclass(frozen=True)
class WatchedLog:
    """The content of a log.

    :param header: the record without its summary.
    :param rows: of the history.
    :param starts: the place of every row in the file, in bytes, and the end of the last one: a line that a killed
        process left half-written is no row.
    """

    header: Record
    rows: list[HistoryRow]
    starts: list[int]


def log_path(results: Path, name: str) -> Path:
    """Return the path of a run's log.

    :param results: the results folder.
    :param name: of the run.
    """
    return results / LOGS / f"{name}.jsonl"


def read_log(path: Path) -> WatchedLog:
    """Read the log of a run. Its form is checked as that of a record and of a history.

    :param path: of the log.
    :raises OSError: when it cannot be read.
    :raises ValueError: when it is not a log.
    """
    if not stat.S_ISREG(path.lstat().st_mode):  # a link may lead anywhere, and a pipe never ends
        raise ValueError("not a log of a watched run: not a regular file")
    lines = path.read_bytes().splitlines(keepends=True)
    whole = lines[:-1] if lines and not lines[-1].endswith(b"\n") else lines
    if not whole:
        raise ValueError("not a log of a watched run: it is empty")
    try:
        header = json.loads(whole[0])
        checked = verified(json.dumps({**header, "checksum": fingerprint(header)}).encode())
        if checked.get("watched") is None:
            raise ValueError("not a log of a watched run")
        rows = [read_row(line.decode(), checked["tasks"]) for line in whole[1:]]
    except (TypeError, LookupError, RecursionError) as error:
        raise ValueError(f"not a log of a watched run: {type(error).__name__}: {error}") from None
    checked.pop("checksum", None)
    starts = np.cumsum([len(line) for line in whole]).tolist()
    return WatchedLog(checked, rows, starts)


def watched_logs(results: Path, tell: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Yield the records of watched runs that are not at their end, as far as their logs go.

    ``status`` is ``"running"`` while a process writes the log, else ``"stopped"``; ``history`` has the rows.

    :param results: the results folder.
    :param tell: is called with a line for the user about every log that cannot be read.
    """
    for path in _logs(results):
        try:
            log = read_log(path)
            record: Mapping[str, Any] = summarized(log.header, log.rows) if log.rows else {}
        except FileNotFoundError:  # the run has just ended
            continue
        except (OSError, ValueError) as error:
            tell(f"left out: {path}: {error}")
            continue
        if record:
            status = "running" if is_written(path) else "stopped"
            yield {**cast(dict[str, Any], record), "status": status, "history": log.rows}


def log_stamps(results: Path) -> dict[Path, FileStamp]:
    """Return the stamp of every log; while stamps stay the same, so do the logs.

    :param results: the results folder.
    """
    stamps = {}
    for path in _logs(results):
        with contextlib.suppress(OSError):  # the run may have just ended
            stamps[path] = FileStamp.of(path)
    return stamps


def _logs(results: Path) -> list[Path]:
    return [] if (results / LOGS).is_symlink() else sorted((results / LOGS).glob("*.jsonl"))


def is_written(path: Path) -> bool:
    """Return whether a process writes a log: it holds the file's lock, which ends with the process.

    :param path: of the log.
    """
    try:
        with path.open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
