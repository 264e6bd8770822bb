"""Histories of a group's finished cells, or of a watched run, as tidy tables."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mtlbench.records.groups import Cells, Record
from mtlbench.records.left_out import is_left_out, left_out
from mtlbench.records.record_file import read_history

STEPS = ("method", "seed", "step", "task", "loss", "weight", "norm")
COSINES = ("method", "seed", "step", "pair", "cosine")
EVALUATIONS = ("method", "seed", "step", "seconds", "task", "metric", "score")


@dataclass(frozen=True)
class Traces:
    """Measurements made while the cells trained. Values that are missing or not finite are NaN."""

    steps: pd.DataFrame
    """A row per step and task: :data:`STEPS`."""
    cosines: pd.DataFrame
    """A row per measured step and pair of tasks that has a cosine: :data:`COSINES`."""
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
    rows: dict[str, list[tuple[Any, ...]]] = {"steps": [], "cosines": [], "evaluations": []}
    unread = []
    records = sorted({**(cells.unfinished if cells.watched else {}), **cells.done}.items())
    lacking = left_out((record for _, record in records), ["history"])
    for (method, seed), record in records:
        if is_left_out(record, "history"):
            continue
        try:
            new_rows = _rows(method, seed, record)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:  # truncated, or of another form
            unread.append(f"{method}, seed {seed}: {_reason(record, error)}")
            continue
        for kind, kind_rows in new_rows.items():
            rows[kind] += kind_rows
    return Traces(
        steps=pd.DataFrame(rows["steps"], columns=list(STEPS)),
        cosines=pd.DataFrame(rows["cosines"], columns=list(COSINES)),
        evaluations=pd.DataFrame(rows["evaluations"], columns=list(EVALUATIONS)),
        unread=(*([lacking] if lacking else []), *unread),
        left_out="" if any(rows.values()) else lacking,
    )


def _rows(method: str, seed: int, record: Record) -> dict[str, list[tuple[Any, ...]]]:
    """Return the rows of one complete history; a damaged one raises an error and contributes none."""
    steps: list[tuple[Any, ...]] = []
    cosines: list[tuple[Any, ...]] = []
    evaluations: list[tuple[Any, ...]] = []
    for row in read_history(dict(record)):
        step = int(row["step"])
        if not (row["scores"] if "scores" in row else row["losses"]).keys() <= record["tasks"].keys():
            raise ValueError("the history is of other tasks")
        if "scores" in row:
            seconds = _finite(row.get("elapsed"))
            for task, scores in row["scores"].items():
                finite = {metric: _finite(value) for metric, value in scores.items()}
                evaluations += [
                    (method, seed, step, seconds, task, metric, value)
                    for metric, value in finite.items()
                    if not math.isnan(value)
                ]
            continue
        weights, norms = row.get("weights") or {}, row.get("norms") or {}
        for task, loss in row["losses"].items():
            steps.append(
                (method, seed, step, task, _finite(loss), _finite(weights.get(task)), _finite(norms.get(task)))
            )
        for spec, proposed in (row.get("proposed") or {}).items():
            steps += [
                (spec, seed, step, task, math.nan, _finite(weight), math.nan) for task, weight in proposed.items()
            ]
        row_cosines: Mapping[str, Any] = row.get("cosines") or {}
        for pair, cosine in row_cosines.items():
            if not math.isnan(value := _finite(cosine)):
                cosines.append((method, seed, step, pair, value))
    return {"steps": steps, "cosines": cosines, "evaluations": evaluations}


def _finite(value: Any) -> float:
    """Return a number, or NaN if it is missing or not finite."""
    return float(value) if value is not None and math.isfinite(value) else math.nan


def _reason(record: Record, error: Exception) -> str:
    """Return the reason why a history could not be read."""
    if "history" not in (record.get("files") or {}):
        return "its record names no history"
    if isinstance(error, OSError):
        return f"its history could not be read ({error.strerror})"
    return "its history is damaged"
