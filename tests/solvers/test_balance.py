"""C y = b y^(−p) against closed forms and scipy."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
import scipy.optimize
from random_points import points

from mtlbench import Vector
from mtlbench.solvers import (
    balanced,
    imbalance,
)

cvxpy: Any = importlib.import_module("cvxpy")  # its types leave out half its names


@pytest.mark.parametrize("power", [0.2, 0.5, 1.0, 3.0])
def test_balance_of_orthogonal_directions_has_a_closed_form(power: float) -> None:
    """C = I: yᵢ = bᵢ^(1/(1+p))."""
    prices = 10.0 ** np.linspace(-8, 8, 5)
    assert balanced(np.eye(5), prices, power) == pytest.approx(prices ** (1 / (1 + power)), rel=1e-9)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_balance_is_the_minimum_of_its_potential(power: float) -> None:
    """By scipy's minimiser, over log y."""
    rows = points(5, 6, 9)
    rows /= np.linalg.norm(rows, axis=1)[:, None]
    cosines, prices = rows @ rows.T, np.random.default_rng(0).uniform(0.1, 10.0, 6)

    def potential(logs: Vector) -> tuple[float, Vector]:
        y = np.exp(logs)
        utility = logs if power == 1.0 else y ** (1 - power) / (1 - power)
        return float(y @ cosines @ y / 2 - prices @ utility), y * (cosines @ y) - prices * y ** (1 - power)

    solved = scipy.optimize.minimize(potential, np.zeros(6), jac=True, method="BFGS", options={"gtol": 1e-9})
    expected = np.exp(solved.x)
    y = balanced(cosines, prices, power)
    assert y == pytest.approx(expected, rel=1e-5)
    assert imbalance(cosines, prices, power, y) < 1e-12 < imbalance(cosines, prices, power, 1.01 * y)


def test_balance_at_a_stationary_point_is_that_of_the_ridge() -> None:
    """C = [[1, −1], [−1, 1]]: 10⁻¹² y = 1/y."""
    cosines = np.array([[1.0, -1.0], [-1.0, 1.0]])
    assert balanced(cosines, np.ones(2), 1.0) == pytest.approx([1e6, 1e6], rel=1e-3)
    assert imbalance(cosines, np.ones(2), 1.0, np.array([-1.0, 1.0])) == np.inf
