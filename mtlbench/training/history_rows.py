"""The rows of a cell's history: one for each step and each evaluation. docs/records.md describes every field."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from mtlbench.engine.step import Step
from mtlbench.records.history_form import HistoryRow
from mtlbench.solvers.inner_products import cosines


def step_row(
    step: int, taken: Step, keys: Sequence[str], factors: Sequence[float], seconds: float, measure: bool
) -> HistoryRow:
    """Return the row of one step. Fields that do not apply, such as ``factor`` or ``floored``, are left out.

    :param factors: (K,) of the losses in this step: the row has the losses without them.
    """
    row: HistoryRow = {
        "step": step,
        "losses": dict(zip(keys, (taken.losses / factors).tolist(), strict=True)),
        "seconds": seconds,
    }
    if taken.weights is not None:
        row["weights"] = dict(zip(keys, taken.weights.tolist(), strict=True))
    if taken.skipped:
        row["skipped"] = True
    if taken.floored:
        row["floored"] = [keys[task] for task in taken.floored]
    if taken.factor != 1.0:
        row["factor"] = taken.factor
    if measure and taken.gram is not None:  # at the same steps for every method, so that summaries compare
        row["norms"] = dict(zip(keys, np.sqrt(np.diagonal(taken.gram)).tolist(), strict=True))
        between = cosines(taken.gram)
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
    """Join the histories of single-task models into one of the same form: rows of one step become one.

    Each model has a factor of its own, so there is none of the row.
    """
    rows: dict[tuple[int, bool], dict[str, Any]] = {}
    for row in history:
        kept = rows.setdefault((row["step"], "scores" in row), {"step": row["step"]})
        for name, value in row.items():
            if isinstance(value, dict):
                kept.setdefault(name, {}).update(value)
            elif name == "skipped":  # by some model at least
                kept[name] = True
            elif name == "floored":
                kept[name] = kept.get(name, []) + value
            elif name not in ("step", "factor"):
                kept[name] = kept.get(name, 0.0) + value
    return [cast(HistoryRow, rows[place]) for place in sorted(rows)]
