"""How many rows of each task a step takes: equal shares, or shares that follow the sizes of the training sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Sampling = Literal["uniform", "proportional", "sqrt", "annealed"]

ANNEALED = 0.8
"""By how much the exponent falls from the first step to the last."""


def shares(sampling: Sampling, rows: Sequence[int], steps: int) -> NDArray[np.float64]:
    """Return the (steps, K) shares p of the tasks in each step, which add up to 1: pᵢ ∝ Nᵢ^α, Nᵢ the training rows.

    ``uniform``: α = 0. ``proportional``: α = 1. ``sqrt``: α = ½. ``annealed``: α falls evenly from 1 at the first step
    to 0.2 at the last: Stickland and Murray, BERT and PALs, ICML 2019, section 4.2, where it falls once an epoch.

    There, as in all of the literature, a step takes one task's batch, drawn with probability pᵢ. Here every step takes
    all tasks, since surgery compares their gradients, and pᵢ is the task's share of the step's rows.
    """
    fixed = {"uniform": 0.0, "proportional": 1.0, "sqrt": 0.5}
    along = np.linspace(0.0, 1.0, steps)
    exponents = 1.0 - ANNEALED * along if sampling == "annealed" else np.full(steps, fixed[sampling])
    sizes = (np.array(rows) / max(rows)) ** exponents[:, None]
    found: NDArray[np.float64] = sizes / sizes.sum(axis=1, keepdims=True)
    return found


def batch_sizes(
    sampling: Sampling, rows: Sequence[int], *, batch_size: int, steps: int, parts: int = 1
) -> NDArray[np.int64]:
    """Return the (steps, K) rows that each step takes of each task, K · ``batch_size`` in all.

    Every task has at least one row a part. What rounding takes from a task in one step it gets in a later one, so that
    the rows of all steps follow the shares where these are not too small.

    :param parts: equal parts that every batch is processed in: sizes are multiples of it.
    """
    units = len(rows) * batch_size // parts
    wanted = shares(sampling, rows, steps) * units
    sizes = np.empty(wanted.shape, dtype=np.int64)
    owed = np.zeros(len(rows))
    for step, ideal in enumerate(wanted):
        owed += ideal
        sizes[step] = _whole(owed, units)
        owed -= sizes[step]
    return sizes * parts


def _whole(owed: NDArray[np.float64], units: int) -> NDArray[np.int64]:
    """Return the whole numbers of 1 or more that are nearest to what is owed and add up to ``units``."""
    sizes = np.maximum(np.floor(owed + 1e-9).astype(np.int64), 1)  # 1e-9: 8 owed in two thirds and a third is 8
    while (excess := int(sizes.sum()) - units) != 0:
        # one at a time: from the task with the most beyond what it is owed, or to the one with the least
        beyond = np.where(sizes > 1, sizes - owed, -np.inf) if excess > 0 else owed - sizes
        sizes[int(beyond.argmax())] -= np.sign(excess)
    return sizes
