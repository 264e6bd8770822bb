"""The histories of a group's finished cells, as tidy tables."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mtlbench.records.groups import Cells, Record
from mtlbench.records.record_file import read_history

STEPS = ("method", "seed", "step", "task", "loss", "weight", "norm")
COSINES = ("method", "seed", "step", "pair", "cosine")
EVALUATIONS = ("method", "seed", "step", "seconds", "task", "metric", "score")


@dataclass(frozen=True)
class Traces:
    """What was written while the cells trained. A number that was not measured, or is not finite, is NaN."""

    steps: pd.DataFrame
    """A row per step and task: :data:`STEPS`."""
    cosines: pd.DataFrame
    """A row per measured step and pair of tasks, without those that have no cosine: :data:`COSINES`."""
    evaluations: pd.DataFrame
    """A row per evaluation, task and metric, without scores that are not finite: :data:`EVALUATIONS`."""
    unread: tuple[str, ...] = ()
    """The cells whose history is absent or unreadable, with the reason."""


def read(cells: Cells) -> Traces:
    """Read the history of every finished cell."""
    rows: dict[str, list[tuple[Any, ...]]] = {"steps": [], "cosines": [], "evaluations": []}
    unread = []
    for (method, seed), record in sorted(cells.done.items()):
        try:
            found = _rows(method, seed, record)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:  # cut off, or not of this form
            unread.append(f"{method}, seed {seed}: {_reason(record, error)}")
            continue
        for kind, more in found.items():
            rows[kind] += more
    return Traces(
        steps=pd.DataFrame(rows["steps"], columns=list(STEPS)),
        cosines=pd.DataFrame(rows["cosines"], columns=list(COSINES)),
        evaluations=pd.DataFrame(rows["evaluations"], columns=list(EVALUATIONS)),
        unread=tuple(unread),
    )


def _rows(method: str, seed: int, record: Record) -> dict[str, list[tuple[Any, ...]]]:
    """Read one history whole, so that half of a damaged one is not taken for a run."""
    steps: list[tuple[Any, ...]] = []
    cosines: list[tuple[Any, ...]] = []
    evaluations: list[tuple[Any, ...]] = []
    for row in read_history(dict(record)):
        step = int(row["step"])
        if not (row["scores"] if "scores" in row else row["losses"]).keys() <= record["tasks"].keys():
            raise ValueError("it is of other tasks")
        if "scores" in row:
            seconds = _finite(row.get("elapsed"))
            for task, scores in row["scores"].items():
                found = {metric: _finite(value) for metric, value in scores.items()}
                evaluations += [
                    (method, seed, step, seconds, task, metric, value)
                    for metric, value in found.items()
                    if not math.isnan(value)
                ]
            continue
        weights, norms = row.get("weights") or {}, row.get("norms") or {}
        for task, loss in row["losses"].items():
            steps.append(
                (method, seed, step, task, _finite(loss), _finite(weights.get(task)), _finite(norms.get(task)))
            )
        between: Mapping[str, Any] = row.get("cosines") or {}
        for pair, cosine in between.items():
            if not math.isnan(value := _finite(cosine)):
                cosines.append((method, seed, step, pair, value))
    return {"steps": steps, "cosines": cosines, "evaluations": evaluations}


def _finite(value: Any) -> float:
    """Return a number; NaN for one that is absent or not finite."""
    return float(value) if value is not None and math.isfinite(value) else math.nan


def _reason(record: Record, error: Exception) -> str:
    """Say why a history could not be read."""
    if "history" not in (record.get("files") or {}):
        return "its record names no history"
    if isinstance(error, OSError):
        return f"its history could not be read ({error.strerror})"
    return "its history is damaged"
