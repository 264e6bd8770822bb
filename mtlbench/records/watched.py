"""Watched runs: a user's own training, measured by :class:`mtlbench.Watch`, as a record with a history.

While the training goes on, ``RESULTS/.watched/NAME.jsonl`` grows: the record without its summary in the first line,
then the rows of the history. At the end it becomes an ordinary record. Its method is :data:`OWN`, and its group is its
own key, so that it is never compared with a cell or with another run.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from mtlbench.plan.cells import fingerprint
from mtlbench.records.entries import ConflictEntry, ProposedEntry, Scores, WatchedTaskEntry
from mtlbench.records.history_form import HistoryRow, check_row
from mtlbench.records.record import SCHEMA, Record
from mtlbench.records.record_file import verified
from mtlbench.records.shares import update_shares

OWN = "own training"
"""Method of a watched run, by spec and by name. No method has a space in its name."""
LOGS = ".watched"
"""Folder of the logs of runs that are not at their end."""


def watched_header(
    name: str,
    key: str,
    tasks: Sequence[str],
    *,
    every: int,
    methods: Sequence[str],
    parameters: int,
    rank: int,
    processes: int,
    environment: dict[str, Any],
    started: str,
) -> Record:
    """Return the record of a run that begins: everything but its summary.

    :param name: of the run; the record's suite.
    :param key: SHA-256 of something that no other run has.
    :param every: steps from one look to the next.
    :param methods: specs of the methods whose weights are computed.
    :param parameters: numbers in the watched parameters.
    :param rank: of the process that measures.
    :param processes: that train.
    :param environment: as :func:`mtlbench.host.provenance.environment` returns it.
    :param started: time of the first step, UTC.
    """
    recipe: Any = {"tasks": list(tasks), "steps": 1, "measure_every": every}
    environment_entry: Any = environment
    return {
        "schema": SCHEMA,
        "key": key,
        "group": key,
        "status": "done",
        "suite": name,
        "seed": 0,
        "method": {"spec": OWN, "name": OWN, "joint": True, "reads": "unknown"},
        "recipe": recipe,
        "tasks": {
            task: {"spec": task, "prediction": None, "metrics": [], "train": None, "dev": None, "floors": {}}
            for task in tasks
        },
        "encoder": {},
        "pairing": None,
        "scores": {},
        "cost": {"seconds_per_step": None, "peak_memory_bytes": None},
        "conflict": None,
        "environment": environment_entry,
        "started": started,
        "seconds": None,
        "resumed": [],
        "error": None,
        "files": {},
        "watched": {
            "every": every,
            "looks": 0,
            "seconds": None,
            "parameters": parameters,
            "rank": rank,
            "processes": processes,
            "tasks": {},
            "proposed": {spec: {"looks": 0, "shares": {}} for spec in methods},
        },
    }


def summarized(header: Record, rows: Sequence[HistoryRow]) -> Record:
    """Return the record of a run with the summary of its history.

    :param header: as :func:`watched_header` returns it.
    :param rows: of the history, at least one.
    """
    steps = [row for row in rows if "losses" in row]
    looks = [row for row in steps if "norms" in row]
    watched = header["watched"]
    assert watched is not None
    scores = _last_scores(rows)
    recipe: Any = {**header["recipe"], "steps": max(row["step"] for row in rows)}
    return {
        **header,
        "recipe": recipe,
        "tasks": {task: {**entry, "metrics": list(scores.get(task, {}))} for task, entry in header["tasks"].items()},
        "scores": scores,
        "conflict": _conflict(looks),
        "seconds": max((row["elapsed"] or 0.0 for row in rows if "elapsed" in row), default=None),
        "watched": {
            **watched,
            "looks": len(looks),
            "seconds": sum(row["look"] for row in looks if "look" in row),
            "tasks": {task: _task(task, list(header["tasks"]), steps) for task in header["tasks"]},
            "proposed": {spec: _proposed(spec, looks) for spec in watched["proposed"]},
        },
    }


def _last_scores(rows: Sequence[HistoryRow]) -> Scores:
    scores: Scores = {}
    for row in rows:
        for task, values in row.get("scores", {}).items():
            finite = {
                metric: value if value is not None and np.isfinite(value) else None for metric, value in values.items()
            }
            scores.setdefault(task, {}).update(finite)
    return scores


def _conflict(looks: Sequence[HistoryRow]) -> ConflictEntry | None:
    cosines = [value for row in looks for value in row.get("cosines", {}).values() if value is not None]
    if not cosines:
        return None
    return {"share": float(np.mean(np.array(cosines) < 0.0)), "mean_cosine": float(np.mean(cosines))}


def _task(task: str, tasks: Sequence[str], steps: Sequence[HistoryRow]) -> WatchedTaskEntry:
    losses = [row["losses"][task] for row in steps if task in row["losses"]]
    norms = [row["norms"].get(task) for row in steps if "norms" in row]
    present = [norm for norm in norms if norm is not None]
    broken = {
        row["step"]
        for row in steps
        for value in (row["losses"].get(task), row.get("norms", {}).get(task))
        if value is not None and not np.isfinite(value)
    }
    whole = [row for row in steps if row.get("norms", {}).keys() == set(tasks)]
    shares = [share[task] for row in whole if (share := update_shares(row, dict.fromkeys(tasks, 1.0))) is not None]
    tenth = max(1, len(losses) // 10)
    return {
        "looks": len(present),
        "not_finite": len(broken),
        "norm": _middle(present),
        "share": _middle(shares),
        "first_loss": _mean(losses[:tenth]),
        "last_loss": _mean(losses[-tenth:]),
    }


def _proposed(spec: str, looks: Sequence[HistoryRow]) -> ProposedEntry:
    shares: dict[str, list[float]] = {}
    rows = [row["proposed"][spec] for row in looks if spec in row.get("proposed", {})]
    for weights in rows:
        total = sum(abs(value) for value in weights.values() if value is not None)
        if total > 0:
            for task, value in weights.items():
                shares.setdefault(task, []).append((value or 0.0) / total)
    return {"looks": len(rows), "shares": {task: float(np.median(values)) for task, values in shares.items()}}


def _middle(values: Sequence[float]) -> float | None:
    finite = [value for value in values if np.isfinite(value)]
    return float(np.median(finite)) if finite else None


def _mean(values: Sequence[float]) -> float | None:
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else None


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
    lines = path.read_bytes().splitlines(keepends=True)
    whole = lines[:-1] if lines and not lines[-1].endswith(b"\n") else lines
    if not whole:
        raise ValueError("not a log of a watched run: it is empty")
    try:
        header = json.loads(whole[0])
        checked = verified(json.dumps({**header, "checksum": fingerprint(header)}).encode())
        if checked.get("watched") is None:
            raise ValueError("not a log of a watched run")
        rows = [check_row(json.loads(line), checked["tasks"]) for line in whole[1:]]
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
    for path in sorted((results / LOGS).glob("*.jsonl")):
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
