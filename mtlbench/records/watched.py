"""Watched runs: a user's own training, measured by :class:`mtlbench.Watch`, as a record with a history.

Its method is :data:`OWN`, and its group is its own key, so that it is never compared with a cell or with another run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mtlbench.contract.entries import ConflictEntry, ProposedEntry, Scores, WatchedTaskEntry
from mtlbench.records.history_form import HistoryRow
from mtlbench.records.record import SCHEMA, Record
from mtlbench.records.shares import update_shares

OWN = "own training"
"""Method of a watched run, by spec and by name. No method has a space in its name."""


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
            "tasks": {task: _task(task, tasks, ()) for task in tasks},
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
