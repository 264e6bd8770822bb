"""Random points for the tests of solvers."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from mtlbench import Matrix

cvxpy: Any = importlib.import_module("cvxpy")  # its types leave out half its names


def points(seed: int, tasks: int, size: int, spread: float = 0.0) -> Matrix:
    draw = np.random.default_rng([seed, tasks, size])
    return np.asarray(draw.normal(size=(tasks, size)) * 10.0 ** draw.uniform(-spread, spread, (tasks, 1)))
