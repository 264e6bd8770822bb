"""Nearest points of hulls and cones against exact arithmetic and a conic solver, and the refusal of wrong answers."""

from __future__ import annotations

import importlib
import itertools
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from random_points import points

import mtlbench
from mtlbench import Matrix, Vector
from mtlbench.errors import SolverError
from mtlbench.solvers import (
    cone_multipliers,
    cone_violation,
    min_norm_point,
    nearest_feasible,
)

cvxpy: Any = importlib.import_module("cvxpy")  # its types leave out half its names


def exact(rows: Matrix) -> Vector:
    """Return the nearest point of a hull of three vectors in exact arithmetic: the best of all faces.

    On the affine hull of a face with edges eₖ = pₖ − p₀, the nearest point is p₀ + Σ tₖ eₖ with EEᵀ t = −E p₀. The
    optimum is such a point of one of the 7 faces, and of those that lie inside their face it is the shortest.
    """
    p = [[Fraction(float(value)) for value in row] for row in rows]

    def inner(a: list[Fraction], b: list[Fraction]) -> Fraction:
        return sum((x * y for x, y in zip(a, b, strict=True)), Fraction(0))

    best: list[Fraction] | None = None
    for face in itertools.chain.from_iterable(itertools.combinations(p, count) for count in (1, 2, 3)):
        edges = [[x - y for x, y in zip(vertex, face[0], strict=True)] for vertex in face[1:]]
        right = [-inner(edge, face[0]) for edge in edges]
        if len(edges) == 2:
            (a, b), (_, d) = ([inner(one, other) for other in edges] for one in edges)
            steps = [(right[0] * d - right[1] * b) / (a * d - b * b), (right[1] * a - right[0] * b) / (a * d - b * b)]
        else:
            steps = [value / inner(edge, edge) for value, edge in zip(right, edges, strict=True)]
        if all(step >= 0 for step in steps) and sum(steps) <= 1:
            found = list(face[0])
            for step, edge in zip(steps, edges, strict=True):
                found = [x + step * y for x, y in zip(found, edge, strict=True)]
            if best is None or inner(found, found) < inner(best, best):
                best = found
    assert best is not None
    return np.array([float(value) for value in best])


# The nearest point of a hull


@pytest.mark.parametrize("spread", [0.0, 3.0])
@pytest.mark.parametrize("size", [2, 3, 5])
def test_nearest_point_of_a_triangle_is_exact(size: int, spread: float) -> None:
    for seed in range(15):
        rows = points(seed, 3, size, spread)
        wanted = exact(rows)
        error = float(np.linalg.norm(min_norm_point(rows) @ rows - wanted))
        assert error <= 1e-9 * np.linalg.norm(wanted) + 1e-15 * np.linalg.norm(rows)


@pytest.mark.parametrize("tasks", [2, 3, 8, 16])
@pytest.mark.parametrize("size", [3, 20])
def test_nearest_point_is_that_of_a_conic_solver(tasks: int, size: int) -> None:
    rows = points(1, tasks, size)
    w = cvxpy.Variable(tasks, nonneg=True)
    problem = cvxpy.Problem(cvxpy.Minimize(cvxpy.norm(rows.T @ w, 2)), [cvxpy.sum(w) == 1])
    problem.solve(solver=cvxpy.CLARABEL)
    found = min_norm_point(rows)
    assert found.min() >= 0.0 and found.sum() == pytest.approx(1.0, rel=1e-14)
    assert np.linalg.norm(found @ rows) == pytest.approx(float(problem.value), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        ([[3.0, 4.0]], [3.0, 4.0]),
        ([[1.0, 0.0], [0.0, 1.0]], [0.5, 0.5]),
        ([[1.0, 0.0], [5.0, 0.0]], [1.0, 0.0]),
        ([[1.0, 1.0], [-1.0, 1.0], [0.0, 3.0]], [0.0, 1.0]),
        ([[1.0, 0.0], [-2.0, 0.0]], [0.0, 0.0]),
        ([[1.0, 0.0], [-0.5, 0.8], [-0.5, -0.8]], [0.0, 0.0]),  # the origin is inside
        ([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]], [0.0, 0.0]),
        ([[2.0, 0.0], [2.0, 0.0], [2.0, 0.0]], [2.0, 0.0]),
    ],
)
@pytest.mark.parametrize("scale", [1e-10, 1.0, 1e15])
def test_nearest_point_where_it_is_known(rows: list[list[float]], wanted: list[float], scale: float) -> None:
    scaled = scale * np.array(rows)
    found = min_norm_point(scaled)
    assert found.min() >= 0.0 and found.sum() == pytest.approx(1.0, rel=1e-14)
    assert found @ scaled == pytest.approx(scale * np.array(wanted), abs=1e-13 * scale)


def test_zero_points_share_the_weight() -> None:
    assert min_norm_point(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]])).tolist() == [0.5, 0.0, 0.5]


def test_points_are_left_as_they_were() -> None:
    rows = points(0, 4, 6)
    before = rows.copy()
    min_norm_point(rows)
    assert rows.tolist() == before.tolist()


# Projections onto cones and polyhedra


@pytest.mark.parametrize(
    ("rows", "target", "wanted"),
    [
        ([[1.0, 0.0], [0.0, 1.0]], [2.0, 3.0], [2.0, 3.0]),
        ([[1.0, 0.0], [0.0, 1.0]], [2.0, -3.0], [2.0, 0.0]),
        ([[1.0, 0.0], [0.0, 1.0]], [-2.0, -3.0], [0.0, 0.0]),
        ([[1.0, 0.0], [-1.0, 0.0]], [2.0, 3.0], [0.0, 3.0]),
        ([[0.6, 0.8]], [-0.6, -0.8], [0.0, 0.0]),
        ([[1.0, 0.0], [1.0, 0.0]], [-1.0, 1.0], [0.0, 1.0]),
    ],
)
def test_projections_that_are_known(rows: list[list[float]], target: list[float], wanted: list[float]) -> None:
    units, start = np.array(rows), np.array(target)
    found = cone_multipliers(units, start, size=1.0)
    assert found.min() >= 0.0
    assert start + found @ units == pytest.approx(np.array(wanted), abs=1e-14)


@pytest.mark.parametrize(
    ("along", "multipliers", "wanted"),
    [
        ([0.0, 2.0], [3.0, 0.0], 0.0),
        ([0.0, 2.0], [0.0, 0.0], 0.0),
        ([-0.5, 0.0], [0.0, 0.0], 0.5),  # a conflict
        ([0.0, 0.0], [-0.5, 0.0], 0.5 / 1.5),  # a negative multiplier
        ([1.0, 0.0], [1.0, 0.0], 0.25),  # a multiplier where there is no conflict, half of the terms twice
    ],
)
def test_the_violation_of_a_projection_by_hand(along: list[float], multipliers: list[float], wanted: float) -> None:
    assert cone_violation(np.array(along), np.array(multipliers), 1.0) == pytest.approx(wanted)


@pytest.mark.parametrize("tasks", [1, 3, 8])
@pytest.mark.parametrize("scale", [1e-10, 1.0, 1e15])
def test_nearest_feasible_point_is_that_of_a_conic_solver(tasks: int, scale: float) -> None:
    units = points(4, tasks, 10)
    units /= np.linalg.norm(units, axis=1)[:, None]
    bounds = np.random.default_rng(tasks).normal(size=tasks) + 0.5
    x = cvxpy.Variable(10)
    cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(x)), [units @ x >= bounds]).solve(solver=cvxpy.CLARABEL)
    found = nearest_feasible(units, scale * bounds)
    assert found is not None and found.min() >= 0.0
    assert found @ units / scale == pytest.approx(np.asarray(x.value), abs=1e-6)


def test_constraints_that_exclude_each_other_have_no_nearest_point() -> None:
    units = np.array([[1.0, 0.0], [-1.0, 0.0]])
    assert nearest_feasible(units, np.array([1.0, 0.0])) is None
    assert nearest_feasible(units, np.array([1.0, -1.0])) == pytest.approx([1.0, 0.0], abs=1e-14)
    assert nearest_feasible(units, np.array([-1.0, -1.0])) == pytest.approx([0.0, 0.0], abs=1e-14)
    assert nearest_feasible(np.zeros((0, 2)), np.zeros(0)) == pytest.approx(np.zeros(0))


# What happens when a solver is wrong

ROWS = np.array([[1.0, 0.25], [-0.5, 2.0], [3.0, 1.0]])


@pytest.mark.parametrize("wrong", [[0.0, 0.0, 1.0], [1.0, 1.0, 1.0], [np.nan, 1.0, 1.0]])
def test_a_wrong_active_set_is_refused_with_the_points(monkeypatch: pytest.MonkeyPatch, wrong: list[float]) -> None:
    monkeypatch.setattr("scipy.optimize.nnls", lambda *_, **__: (np.array(wrong), 0.0))
    with pytest.raises(SolverError) as caught:
        min_norm_point(ROWS)
    message = str(caught.value)
    assert str(ROWS.tolist()) in message and "optimality violated" in message and "\n" not in message


def test_mgda_does_not_hide_a_wrong_solution(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scipy.optimize.nnls", lambda *_, **__: (np.array([0.0, 0.0, 1.0]), 0.0))
    with pytest.raises(SolverError, match="points"):
        mtlbench.aggregate("mgda", ROWS)


def test_cagrad_refuses_an_open_duality_gap_with_the_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtlbench.methods.cagrad.min_norm_point", lambda rows: np.full(len(rows), 1 / len(rows)))
    with pytest.raises(SolverError) as caught:
        mtlbench.aggregate("cagrad", ROWS)
    message = str(caught.value)
    assert "duality gap" in message and "gradients [[" in message and "\n" not in message


def test_a_solver_that_gives_up_is_a_solver_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def give_up(*_: object, **__: object) -> None:
        raise RuntimeError("Maximum number of iterations reached.")

    monkeypatch.setattr("scipy.optimize.nnls", give_up)
    with pytest.raises(SolverError, match="points"):
        min_norm_point(ROWS)
