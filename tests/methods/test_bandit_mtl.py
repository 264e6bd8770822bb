"""BanditMTL: its reductions, the ball, and the projection against a general optimizer."""

from __future__ import annotations

import math

import numpy as np
import pytest
from families import series
from scipy.optimize import minimize

from mtlbench import UsageError, get_method, weights


def divergence(p: np.ndarray, q: np.ndarray) -> float:
    return float(np.sum(p * np.log(p / q)))


def test_without_a_radius_it_is_the_mean() -> None:
    method = get_method("bandit-mtl[radius=0]")
    for row in series(3):
        assert weights(method, losses=row) == pytest.approx(np.full(3, 1 / 3), rel=1e-15)


def test_with_a_large_radius_it_is_group_dro() -> None:
    method, other = get_method("bandit-mtl", step_size=0.4, radius=math.log(3)), get_method("group-dro[step_size=0.4]")
    for row in series(8):
        assert weights(method, losses=row) == pytest.approx(weights(other, losses=row), rel=1e-12)


def test_the_shares_are_the_nearest_ones_in_the_ball() -> None:
    losses, uniform = np.array([0.2, 1.0, 3.0]), np.full(3, 1 / 3)
    got = weights("bandit-mtl[step_size=1,radius=0.1]", losses=losses)
    start = np.exp(losses) / np.exp(losses).sum()
    assert divergence(got, uniform) == pytest.approx(0.1, abs=1e-9) and divergence(start, uniform) > 0.1
    best = minimize(
        divergence,
        uniform * [0.9, 1.0, 1.1],
        args=(start,),
        bounds=[(1e-6, 1.0)] * 3,
        constraints=[
            {"type": "eq", "fun": lambda p: p.sum() - 1.0},
            {"type": "ineq", "fun": lambda p: 0.1 - divergence(p, uniform)},
        ],
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert got == pytest.approx(best.x, abs=1e-5)


@pytest.mark.parametrize("spec", ["bandit-mtl[radius=-1]", "bandit-mtl[step_size=-1]"])
def test_parameters_out_of_range(spec: str) -> None:
    with pytest.raises(UsageError, match="method bandit-mtl: parameter"):
        get_method(spec)
