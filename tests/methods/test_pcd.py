"""PCD: TorchJD over several steps, a conic solver, and edge cases by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from assertions import distance, lengths
from families import SIZES, jacobian
from oracles import conic, cvxpy, peer
from torchjd import aggregation as torchjd

from mtlbench import Matrix, UsageError, Vector, aggregate, get_method


@pytest.mark.parametrize("tasks", SIZES)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("tau", [0.0, 0.02, 0.7])
def test_pcd_is_torchjd_over_steps(tau: float, seed: int, tasks: int) -> None:
    ours, theirs = get_method("pcd", tau=tau, beta=0.9), torchjd.PCD(tau, beta=0.9, eps=0.0)
    for step in range(4):
        rows = jacobian(seed + 10 * step, tasks, 20, spread=1.0)
        assert distance(aggregate(ours, rows), peer(theirs, rows)) < 1e-7


def constrained(rows: Matrix, tau: float) -> Vector:
    units = rows / lengths(rows)[:, None]
    d = cvxpy.Variable(rows.shape[1])
    conic(cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(d - units[0])), [units[1:] @ d >= tau]))
    found = np.asarray(d.value)
    return found / np.linalg.norm(found) * lengths(rows)[0]


@pytest.mark.parametrize("tau", [0.0, 0.02, 0.5])
@pytest.mark.parametrize("tasks", [2, 4, 8])
def test_pcd_is_the_nearest_feasible_direction(tasks: int, tau: float) -> None:
    rows = jacobian(10, tasks, 20, spread=2.0)
    assert distance(aggregate("pcd", rows, tau=tau), constrained(rows, tau)) < 1e-5


def test_pcd_at_its_edges() -> None:
    assert aggregate("pcd", np.array([[0.0, 0.0], [1.0, 2.0]])).tolist() == [0.0, 0.0]  # nothing to follow
    incompatible = np.array([[1.0, 1.0], [0.0, 1.0], [0.0, -1.0]])
    assert aggregate("pcd", incompatible).tolist() == [1.0, 1.0]
    assert aggregate("pcd", incompatible, tau=0.0) == pytest.approx([math.sqrt(2), 0.0], rel=1e-12)
    opposed = np.array([[3.0, 0.0], [-1.0, 0.0]])
    assert aggregate("pcd", opposed) == pytest.approx([-3.0, 0.0], rel=1e-12)  # any share of −g₁ is all of it
    assert aggregate("pcd", opposed, tau=0.0).tolist() == [0.0, 0.0]


def test_pcd_follows_the_task_that_is_named() -> None:
    rows = jacobian(11, 4, 20)
    order = [2, 0, 1, 3]
    assert aggregate("pcd[main=2]", rows) == pytest.approx(aggregate("pcd", rows[order]), rel=1e-9)
    with pytest.raises(UsageError, match="pcd needs at least 5 tasks, got 4"):
        aggregate("pcd[main=4]", rows)


def test_parameters_out_of_range_are_refused() -> None:
    with pytest.raises(UsageError, match="should be"):
        get_method("pcd[tau=1.5]")
