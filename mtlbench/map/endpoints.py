"""Endpoints: the one number that the errors of all tasks come down to. Lower is better.

Which is used can turn a comparison round, so a map reports all of them. They are differences of logarithms, or of Δm as
a share: a difference of −0.30 means 26 % less error, or 30 points of Δm.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np

from mtlbench.map.cells import Array
from mtlbench.stats import delta_m

Endpoint = Literal["mean-log", "log-mean", "delta-m", "worst"]
ENDPOINTS: tuple[Endpoint, ...] = get_args(Endpoint)
LABELS: dict[Endpoint, str] = {
    "mean-log": "mean over tasks of the log error",
    "log-mean": "log of the mean error",
    "delta-m": "Δm against single tasks",
    "worst": "log error of the worst task",
}


def evaluate(errors: Array, endpoint: Endpoint, single_task: Array | None = None) -> Array:
    """Return an endpoint.

    :param errors: (N, ..., K) NMSE of each task, N seeds.
    :param single_task: (N, K) those of single tasks, for Δm alone.
    :returns: (N, ...) the endpoint, lower is better.
    """
    if endpoint == "delta-m":
        assert single_task is not None  # gains() has checked it
        by_seed_last_but_one = np.moveaxis(errors, 0, -2)  # delta_m takes (..., N, K), and better is higher
        improvement = delta_m(-by_seed_last_but_one, -single_task)
        assert improvement is not None  # errors are clipped above 0
        return np.moveaxis(-improvement / 100.0, -1, 0)
    return _FORMULAS[endpoint](errors)


_FORMULAS: dict[Endpoint, Callable[[Array], Array]] = {
    "mean-log": lambda errors: np.asarray(np.log(errors).mean(axis=-1)),
    "log-mean": lambda errors: np.asarray(np.log(errors.mean(axis=-1))),
    "worst": lambda errors: np.asarray(np.log(errors.max(axis=-1))),
}
