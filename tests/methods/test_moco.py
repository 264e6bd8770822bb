"""MoCo: algorithm 1 of the paper on vectors, and values by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from families import jacobians, losses_of
from oracles import softmax

from mtlbench import Vector, aggregate, get_method


def simplex_point(values: Vector) -> Vector:
    """Projection onto the simplex by bisection on θ."""
    low, high = values.max() - 1.0, values.max()
    for _ in range(200):
        middle = (low + high) / 2.0
        low, high = (middle, high) if np.maximum(values - middle, 0.0).sum() > 1.0 else (low, middle)
    return np.maximum(values - low, 0.0)


@pytest.mark.parametrize(("onto", "bring"), [("simplex", simplex_point), ("softmax", softmax)])
@pytest.mark.parametrize("normalize", ["none", "loss"])
@pytest.mark.parametrize("rho", [0.0, 0.5])
def test_moco_is_algorithm_1(onto: str, bring: Callable[[Vector], Vector], normalize: str, rho: float) -> None:
    method = get_method("moco", onto=onto, normalize=normalize, rho=rho, gamma=0.02)
    y, lam = np.zeros((4, 12)), np.full(4, 0.25)
    for step, rows in enumerate(jacobians(0, 4, 12), start=1):
        losses = losses_of(step, 4)
        used = rows.copy()
        if normalize == "loss":
            used = np.array([row / np.linalg.norm(row) * loss for row, loss in zip(rows, losses, strict=True)])
        y = y - 0.5 / np.sqrt(step) * (y - used)
        lam = bring(lam - 0.02 / np.sqrt(step) * (y @ y.T + rho * np.eye(4)) @ lam)
        assert aggregate(method, rows, losses=losses) == pytest.approx(y.T @ lam, rel=1e-9, abs=1e-12)


def test_moco_first_step_by_hand() -> None:
    """y = g/2, so Y Yᵀ λ = (1, 4)/8 · 1 and λ = Π(½ − .1/8, ½ − .4/8) = (.5 + .15/8, .5 − .15/8)."""
    rows = np.array([[1.0, 0.0], [0.0, 2.0]])
    assert aggregate("moco", rows) == pytest.approx([0.5 * (0.5 + 0.15 / 8), 1.0 * (0.5 - 0.15 / 8)], rel=1e-14)


def test_moco_of_huge_gradients_takes_the_shorter_one() -> None:
    assert aggregate("moco", np.array([[1e15, 0.0], [0.0, 2e15]])) == pytest.approx([5e14, 0.0])
