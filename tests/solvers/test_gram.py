"""Factors of Gram matrices, and lengths and cosines."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
from random_points import points

from mtlbench.solvers import (
    directions,
    factor,
)

cvxpy: Any = importlib.import_module("cvxpy")  # its types leave out half its names


@pytest.mark.parametrize("spread", [0.0, 3.0, 7.0])
@pytest.mark.parametrize(("tasks", "size"), [(1, 5), (2, 9), (8, 30), (8, 3), (16, 1)])
def test_factor_reproduces_the_gram_matrix_to_16_digits_of_the_norms(tasks: int, size: int, spread: float) -> None:
    rows = points(2, tasks, size, spread)
    gram = rows @ rows.T
    lengths = np.linalg.norm(rows, axis=1)
    coordinates = factor(gram)
    assert coordinates.shape == (tasks, tasks)
    assert (np.abs(coordinates @ coordinates.T - gram) / np.outer(lengths, lengths)).max() < 1e-13


def test_factor_keeps_zero_gradients_zero() -> None:
    rows = np.vstack([points(3, 3, 5), np.zeros((2, 5))])
    coordinates = factor(rows @ rows.T)
    assert coordinates[3:].tolist() == np.zeros((2, 5)).tolist()
    assert coordinates @ coordinates.T == pytest.approx(rows @ rows.T, abs=1e-13)


def test_factor_accepts_a_gram_matrix_that_rounding_made_indefinite() -> None:
    gram = np.array([[1.0, 1.0 + 1e-15], [1.0 + 1e-15, 1.0]])
    assert np.linalg.eigvalsh(gram).min() < 0.0
    assert factor(gram) @ factor(gram).T == pytest.approx(gram, abs=1e-14)


def test_directions_leave_zero_gradients_out() -> None:
    rows = np.array([[3.0, 4.0], [0.0, 0.0], [0.0, 1e-9]])
    result = directions(rows @ rows.T)
    assert result.kept.tolist() == [True, False, True]
    assert result.lengths == pytest.approx([5.0, 1e-9], rel=1e-15)
    assert result.cosines == pytest.approx(np.array([[1.0, 0.8], [0.8, 1.0]]), rel=1e-15)
    assert result.spread(np.array([7.0, 8.0])).tolist() == [7.0, 0.0, 8.0]
    nothing = directions(np.zeros((2, 2)))
    assert nothing.lengths.tolist() == [] and nothing.spread(nothing.lengths).tolist() == [0.0, 0.0]
