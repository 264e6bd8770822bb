"""Rows of a cell's history, one per step and evaluation, in the form of :mod:`mtlbench.records.history_form`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from mtlbench.engine.step import Step
from mtlbench.records.history_form import HistoryRow
from mtlbench.solvers.inner_products import cosines


def step_row(
    step: int, result: Step, keys: Sequence[str], factors: Sequence[float], seconds: float, measure: bool
) -> HistoryRow:
    """Return the row of one step. Fields that do not apply, such as ``factor`` or ``floored``, are left out.

    :param step: the step, from 1.
    :param result: what the engine returned.
    :param keys: keys of the K tasks.
    :param factors: (K,) factors of the losses in this step; the row has the losses without them.
    :param seconds: duration of the step.
    :param measure: whether norms and cosines belong in the row.
    """
    row: HistoryRow = {
        "step": step,
        "losses": dict(zip(keys, (result.losses / factors).tolist(), strict=True)),
        "seconds": seconds,
    }
    if result.weights is not None:
        row["weights"] = dict(zip(keys, result.weights.tolist(), strict=True))
    if result.skipped:
        row["skipped"] = True
    if result.floored:
        row["floored"] = [keys[task] for task in result.floored]
    if result.factor != 1.0:
        row["factor"] = result.factor
    if measure and result.gram is not None:  # at the same steps for every method, so that summaries compare
        row["norms"] = dict(zip(keys, np.sqrt(np.diagonal(result.gram)).tolist(), strict=True))
        between = cosines(result.gram)
        row["cosines"] = {
            f"{keys[i]}|{keys[j]}": float(between[i, j]) if np.isfinite(between[i, j]) else None
            for i in range(len(keys))
            for j in range(i + 1, len(keys))
        }
    return row


def count_floored(history: Sequence[HistoryRow]) -> dict[str, int]:
    """Return task → steps in which its loss of exactly 0 counted as :data:`mtlbench.contract.observation.FLOOR`."""
    return dict(Counter(task for row in history for task in row.get("floored", ())))


def merged(history: Sequence[HistoryRow]) -> list[HistoryRow]:
    """Merge the histories of single-task models: their rows of a step become one row.

    Each model has a factor of its own, so the merged row has no factor.

    :param history: the rows of all models.
    """
    rows: dict[tuple[int, bool], dict[str, Any]] = {}
    for row in history:
        merged_row = rows.setdefault((row["step"], "scores" in row), {"step": row["step"]})
        for name, value in row.items():
            if isinstance(value, dict):
                merged_row.setdefault(name, {}).update(value)
            elif name == "skipped":  # by at least one model
                merged_row[name] = True
            elif name == "floored":
                merged_row[name] = merged_row.get(name, []) + value
            elif name not in ("step", "factor"):
                merged_row[name] = merged_row.get(name, 0.0) + value
    return [cast(HistoryRow, rows[place]) for place in sorted(rows)]
