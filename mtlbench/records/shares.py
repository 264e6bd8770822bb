"""Shares of tasks in an update, from the norms and cosines in a row of a history."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mtlbench.records.history_form import HistoryRow


def update_shares(row: HistoryRow | Mapping[str, Any], weights: Mapping[str, float]) -> dict[str, float] | None:
    """Return each task's share wᵢ ⟨gᵢ, u⟩ / ‖u‖² of the update u = Σ wᵢ gᵢ.

    :param row: the row of a measured step.
    :param weights: task → weight w.
    :returns: ``None`` where a cosine is undefined, or the update is zero.
    """
    norms: Mapping[str, Any] = row.get("norms") or {}
    cosines: Mapping[str, Any] = row.get("cosines") or {}
    if not cosines or any(value is None for value in cosines.values()):
        return None
    tasks = list(norms)
    scaled = np.array([weights[task] * norms[task] for task in tasks])
    angle = np.eye(len(tasks))
    for pair, value in cosines.items():
        i, j = (tasks.index(task) for task in pair.split("|"))
        angle[i, j] = angle[j, i] = value
    along = scaled * (angle @ scaled)
    total = along.sum()
    return dict(zip(tasks, (along / total).tolist(), strict=True)) if total > 0 else None
