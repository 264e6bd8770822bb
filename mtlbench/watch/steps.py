"""Rows of a watched run's history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from mtlbench.contract.observation import Matrix
from mtlbench.records.history_form import HistoryRow
from mtlbench.solvers.inner_products import cosines


class StepLosses:
    """What is known of one optimizer step before it is written: losses of its micro-batches, and a look."""

    def __init__(self) -> None:
        self.losses: dict[str, list[torch.Tensor]] = {}
        self.look: dict[str, Any] = {}

    def add(self, losses: dict[str, torch.Tensor]) -> None:
        """Keep the values of losses, without their graphs and in memory of their own.

        They are read from the device when they are written: reading them at every step would make it wait.

        :param losses: task → scalar loss.
        """
        for task, loss in losses.items():
            self.losses.setdefault(task, []).append(loss.detach().clone())

    def add_look(self, fields: dict[str, dict[str, Any]]) -> None:
        """Add a measurement; another micro-batch of the step may have measured other tasks.

        :param fields: name of a field → task or pair → value.
        """
        for name, measured in fields.items():
            self.look[name] = {**self.look.get(name, {}), **measured}

    def row(self, step: int) -> HistoryRow:
        """Return the row of the history.

        :param step: the optimizer step, from 1.
        """
        losses = {task: float(np.mean([float(value) for value in values])) for task, values in self.losses.items()}
        row: Any = {"step": step, "losses": losses, **self.look}
        return row


def look_fields(tasks: Sequence[str], gram: Matrix) -> dict[str, dict[str, Any]]:
    """Return norms and cosines, as a row has them.

    :param tasks: the K tasks.
    :param gram: (K, K) inner products of their gradients.
    """
    angles = cosines(gram)
    return {
        "norms": dict(zip(tasks, np.sqrt(np.diagonal(gram)).tolist(), strict=True)),
        "cosines": {
            f"{tasks[i]}|{tasks[j]}": float(angles[i, j]) if np.isfinite(angles[i, j]) else None
            for i in range(len(tasks))
            for j in range(i + 1, len(tasks))
        },
    }


def last_looks(rows: Sequence[HistoryRow]) -> dict[str, int]:
    """Return task → the last step at which its gradient was measured.

    :param rows: of the history, in order.
    """
    return {task: row["step"] for row in rows if "norms" in row for task in row["norms"]}
