"""The rows of every step's batch, by seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtlbench import seeds


def batch_schedule(seed: int, task: str, rows: int, total: int, number: int = 0) -> NDArray[np.int64]:
    """Return the row numbers that a task trains on, in order.

    Each epoch is a fresh permutation of the rows. A batch may begin in one epoch and end in the next, so that every
    row is drawn equally often.

    :param seed: the cell's seed.
    :param task: the task's key.
    :param rows: number of training rows.
    :param total: number of rows over all steps.
    :param number: 0 for the batches that the update is computed from, which are the same for every method; 1 and 2
        for the independent batches from which some methods estimate their weights.
    :returns: (total,) row numbers.
    """
    epochs = -(-total // rows)
    suffix = [number] if number else []
    order = [seeds.generator(seed, "schedule", task, epoch, *suffix).permutation(rows) for epoch in range(epochs)]
    return np.concatenate(order)[:total]
