"""Histories of a group's finished cells, or of a watched run, as tidy tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mtlbench.records.groups import Cells, Record
from mtlbench.records.history_form import HistoryRow
from mtlbench.records.left_out import is_left_out, left_out
from mtlbench.records.record_file import read_history

STEPS = ("method", "seed", "step", "task", "loss", "weight", "norm")
COSINES = ("method", "seed", "step", "pair", "cosine")
EVALUATIONS = ("method", "seed", "step", "seconds", "task", "metric", "score")
Columns = dict[str, Any]
"""Column → array, all of one length."""


@dataclass(frozen=True)
class Traces:
    """Measurements made while the cells trained. Values that are missing or not finite are NaN."""

    steps: pd.DataFrame
    """A row per step and task: :data:`STEPS`. Names are categories: a large grid has millions of rows."""
    cosines: pd.DataFrame
    """A row per measured step and pair of tasks that has a cosine: :data:`COSINES`. Names are categories."""
    evaluations: pd.DataFrame
    """A row per evaluation, task and metric with a finite score: :data:`EVALUATIONS`."""
    unread: tuple[str, ...] = ()
    """Cells whose history is missing or unreadable, with the reason; those left out on purpose together."""
    left_out: str = ""
    """The sentence on histories that were left out on purpose, if that leaves none; figures over training need one."""


def read(cells: Cells) -> Traces:
    """Read the history of every finished cell, or of a watched run so far; :attr:`Traces.unread` lists unreadable ones.

    :param cells: the cells of one group.
    """
    parts: dict[str, list[Columns]] = {"steps": [], "cosines": [], "evaluations": []}
    unread = []
    records = sorted({**(cells.unfinished if cells.watched else {}), **cells.done}.items())
    lacking = left_out((record for _, record in records), ["history"])
    for (method, seed), record in records:
        if is_left_out(record, "history"):
            continue
        try:
            new_parts = _parts(method, seed, record)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:  # truncated, or of another form
            unread.append(f"{method}, seed {seed}: {_reason(record, error)}")
            continue
        for kind, kind_parts in new_parts.items():
            parts[kind] += kind_parts
    tables = {
        "steps": _table(parts["steps"], STEPS, ("method", "task")),
        "cosines": _table(parts["cosines"], COSINES, ("method", "pair")),
        "evaluations": _table(parts["evaluations"], EVALUATIONS, ()),
    }
    return Traces(
        **tables,
        unread=(*([lacking] if lacking else []), *unread),
        left_out="" if any(map(len, tables.values())) else lacking,
    )


def _table(parts: list[Columns], names: tuple[str, ...], categories: tuple[str, ...]) -> pd.DataFrame:
    """Put the parts of a table together; some columns become categories, in alphabetical order."""
    if not parts:
        return pd.DataFrame({name: [] for name in names})
    columns: dict[str, Any] = {name: np.concatenate([part[name] for part in parts]) for name in names}
    return pd.DataFrame({n: pd.Categorical(v) if n in categories else v for n, v in columns.items()})


def _parts(method: str, seed: int, record: Record) -> dict[str, list[Columns]]:
    """Return the columns of one complete history; a damaged one raises an error and contributes none."""
    rows = list(read_history(record))
    for row in rows:
        if not (row["scores"] if "scores" in row else row["losses"]).keys() <= record["tasks"].keys():
            raise ValueError("the history is of other tasks")
    steps = [row for row in rows if "scores" not in row]
    proposed = dict.fromkeys(spec for row in steps for spec in row.get("proposed") or {})
    return {
        "steps": [_steps(method, seed, steps), *(_proposed(spec, seed, steps) for spec in proposed)],
        "cosines": [_cosines(method, seed, steps)],
        "evaluations": [_evaluations(method, seed, [row for row in rows if "scores" in row])],
    }


def _steps(method: str, seed: int, rows: list[HistoryRow]) -> Columns:
    """Return a row per step and task."""
    lines = [(row["step"], task, loss) for row in rows for task, loss in row["losses"].items()]
    weights = [(row.get("weights") or {}).get(task) for row in rows for task in row["losses"]]
    norms = [(row.get("norms") or {}).get(task) for row in rows for task in row["losses"]]
    steps, tasks, losses = zip(*lines, strict=True) if lines else ((), (), ())
    numbers = {"loss": _finite(losses), "weight": _finite(weights), "norm": _finite(norms)}
    return {**_cell(method, seed, steps), "task": _names(tasks), **numbers}


def _proposed(spec: str, seed: int, rows: list[HistoryRow]) -> Columns:
    """Return a row per step and task with the weights that a method would have given a watched run."""
    lines = [(row["step"], *item) for row in rows for item in (row.get("proposed") or {}).get(spec, {}).items()]
    steps, tasks, weights = zip(*lines, strict=True) if lines else ((), (), ())
    absent = np.full(len(lines), np.nan)
    numbers = {"loss": absent, "weight": _finite(weights), "norm": absent}
    return {**_cell(spec, seed, steps), "task": _names(tasks), **numbers}


def _cosines(method: str, seed: int, rows: list[HistoryRow]) -> Columns:
    """Return a row per measured step and pair of tasks that has a cosine."""
    lines = [(row["step"], *item) for row in rows for item in (row.get("cosines") or {}).items()]
    steps, pairs, cosines = zip(*lines, strict=True) if lines else ((), (), ())
    return _known({**_cell(method, seed, steps), "pair": _names(pairs), "cosine": _finite(cosines)}, "cosine")


def _evaluations(method: str, seed: int, rows: list[HistoryRow]) -> Columns:
    """Return a row per evaluation, task and metric with a finite score."""
    lines = [
        (row["step"], row.get("elapsed"), task, metric, value)
        for row in rows
        for task, scores in row["scores"].items()
        for metric, value in scores.items()
    ]
    steps, seconds, tasks, metrics, scores = zip(*lines, strict=True) if lines else ((), (), (), (), ())
    names = {"task": _names(tasks), "metric": _names(metrics)}
    cell = _cell(method, seed, steps)
    return _known({**cell, "seconds": _finite(seconds), **names, "score": _finite(scores)}, "score")


def _cell(method: str, seed: int, steps: Sequence[int]) -> Columns:
    """Return the columns that all tables have."""
    cell = {"method": np.full(len(steps), method, dtype=object), "seed": np.full(len(steps), seed, dtype=np.int64)}
    return {**cell, "step": np.array(steps, dtype=np.int64)}


def _names(names: Sequence[str]) -> Any:
    """Return names as an array that shares their strings."""
    return np.array(names, dtype=object)


def _finite(values: Sequence[float | None]) -> Any:
    """Return numbers as an array, NaN where one is missing or not finite."""
    numbers = np.array(values, dtype=np.float64)
    numbers[~np.isfinite(numbers)] = np.nan
    return numbers


def _known(columns: Columns, name: str) -> Columns:
    """Return the rows with a number in one column."""
    known = ~np.isnan(columns[name])
    return {column: values[known] for column, values in columns.items()}


def _reason(record: Record, error: Exception) -> str:
    """Return the reason why a history could not be read."""
    if "history" not in (record.get("files") or {}):
        return "its record names no history"
    if isinstance(error, OSError):
        return f"its history could not be read ({error.strerror})"
    return "its history is damaged"
