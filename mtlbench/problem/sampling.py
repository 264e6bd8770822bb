"""Number of rows per task in a step: equal shares, or shares that depend on the sizes of the training sets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mtlbench.recipe.suite import Sampling

ANNEALED = 0.8
"""Decrease of the exponent from the first step to the last."""


def shares(sampling: Sampling, rows: Sequence[int], steps: int) -> NDArray[np.float64]:
    """Return each task's share of the rows of each step: pᵢ ∝ Nᵢ^α, where Nᵢ is the number of training rows.

    ``uniform``: α = 0. ``proportional``: α = 1. ``sqrt``: α = ½. ``annealed``: α falls linearly from 1 at the first
    step to 0.2 at the last: Stickland and Murray, BERT and PALs, ICML 2019, section 4.2, where it falls once per epoch.

    There, as elsewhere in the literature, a step takes the batch of one task, drawn with probability pᵢ. Here every
    step takes rows of all tasks, since gradient surgery compares their gradients, and pᵢ is a task's share of them.

    :param sampling: the rule.
    :param rows: training rows of each of the K tasks.
    :param steps: number of steps.
    :returns: (steps, K) shares; those of a step add up to 1.
    """
    constant = {"uniform": 0.0, "proportional": 1.0, "sqrt": 0.5}
    progress = np.linspace(0.0, 1.0, steps)
    exponents = 1.0 - ANNEALED * progress if sampling == "annealed" else np.full(steps, constant[sampling])
    sizes = (np.array(rows) / max(rows)) ** exponents[:, None]
    normalised: NDArray[np.float64] = sizes / sizes.sum(axis=1, keepdims=True)
    return normalised


def batch_sizes(
    sampling: Sampling, rows: Sequence[int], *, batch_size: int, steps: int, parts: int = 1
) -> NDArray[np.int64]:
    """Return the number of rows of each task in each step, K · ``batch_size`` per step.

    Every task has at least one row per part. Rounding errors carry over to the next step, so that the total number of
    rows follows the shares unless these are very small.

    :param sampling: the rule; see :func:`shares`.
    :param rows: training rows of each of the K tasks.
    :param batch_size: mean number of rows per task and step.
    :param steps: number of steps.
    :param parts: number of equal parts in which every batch is processed; sizes are multiples of it.
    :returns: (steps, K) numbers of rows.
    """
    units = len(rows) * batch_size // parts
    ideal = shares(sampling, rows, steps) * units
    sizes = np.empty(ideal.shape, dtype=np.int64)
    balance = np.zeros(len(rows))
    for step, ideal_sizes in enumerate(ideal):
        balance += ideal_sizes
        sizes[step] = _round(balance, units)
        balance -= sizes[step]
    return sizes * parts


def _round(balance: NDArray[np.float64], units: int) -> NDArray[np.int64]:
    """Return the whole numbers of at least 1 that add up to ``units`` and are nearest to ``balance``."""
    sizes = np.maximum(np.floor(balance + 1e-9).astype(np.int64), 1)  # 1e-9: a sum of thirds may fall just below 8
    while (excess := int(sizes.sum()) - units) != 0:
        # move one unit at a time: from the task that exceeds its balance most, or to the one that lacks most
        difference = np.where(sizes > 1, sizes - balance, -np.inf) if excess > 0 else balance - sizes
        sizes[int(difference.argmax())] -= np.sign(excess)
    return sizes
