"""The vectorised solvers against optimality conditions and the single solvers; problems without a solution."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy.optimize import nnls
from stacks_of_grams import assert_agree, few, grams_of, jacobians, seeds_drawn

from mtlbench import SolverError, get_method
from mtlbench.batched import OneByOne, bargains, batched, cones, hulls
from mtlbench.batched.solvers import balance, conflict_averse
from mtlbench.batched.solvers import nonnegative as nonnegative_module
from mtlbench.batched.solvers.directions import directions, factor, solve
from mtlbench.batched.solvers.nonnegative import cone_violation, nearest_in_hull, nonnegative
from mtlbench.solvers import balanced, imbalance, min_norm_point
from mtlbench.solvers import cone_violation as single_cone_violation
from mtlbench.solvers import factor as single_factor


@pytest.mark.parametrize("tasks", [1, 2, 5, 9])
@few
@seeds_drawn
def test_nonnegative_least_squares(tasks: int, seed: int) -> None:
    """min ‖A x − b‖ over x ≥ 0 of full and of low rank, against SciPy and against the conditions."""
    draw = np.random.default_rng([seed, tasks])
    rank = draw.integers(1, tasks + 3)
    columns = draw.normal(size=(40, tasks, rank))
    columns /= np.linalg.norm(columns, axis=2)[:, :, None]
    wanted = draw.normal(size=(40, rank))
    matrices, targets = columns @ columns.transpose(0, 2, 1), np.einsum("bkr,br->bk", columns, wanted)
    x = nonnegative(matrices, targets)
    assert (x >= 0.0).all()
    slopes = targets - np.einsum("bij,bj->bi", matrices, x)
    assert slopes.max() < 1e-12 * (1.0 + x.sum(axis=1).max())
    assert np.abs(slopes * x).max() < 1e-11 * (1.0 + x.max() ** 2)
    for row, target, solution in zip(columns, wanted, x, strict=True):
        fitted, _ = nnls(row.T, target)
        np.testing.assert_allclose(solution @ row, fitted @ row, atol=1e-9)


@pytest.mark.parametrize("tasks", [1, 2, 3, 6])
def test_nearest_points_of_hulls(tasks: int) -> None:
    rows = jacobians(3, tasks, each=3) if tasks > 1 else np.random.default_rng(0).normal(size=(4, 1, 20))
    grams = grams_of(rows)
    weights, violation = nearest_in_hull(grams)
    assert violation.max() < 1e-11
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-12)
    assert_agree(weights, np.array([min_norm_point(single_factor(gram)) for gram in grams]), rows)


@pytest.mark.parametrize("power", [0.2, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("tasks", [2, 4, 7])
def test_balanced_and_its_violation(tasks: int, power: float) -> None:
    cosines = directions(grams_of(jacobians(7, tasks, each=2))).decoupled
    prices = np.random.default_rng(tasks).uniform(0.1, 10.0, cosines.shape[:2])
    y, violation = balance.balanced(cosines, prices, power)
    assert violation.max() < 1e-8
    singles = [balanced(c, b, power) for c, b in zip(cosines, prices, strict=True)]
    for c, solution, single in zip(cosines, y, singles, strict=True):
        difference = solution - single
        assert np.sqrt(abs(difference @ c @ difference)) < 1e-8 * single.sum()
    for candidate in (y, np.ones_like(y), -y, y * np.nan):
        wanted = [imbalance(c, b, power, row) for c, b, row in zip(cosines, prices, candidate, strict=True)]
        np.testing.assert_allclose(balance.imbalance(cosines, prices, power, candidate), wanted, rtol=1e-6, atol=1e-13)


def test_the_violation_of_cones() -> None:
    draw = np.random.default_rng(1)
    along, multipliers, size = draw.normal(size=(20, 4)), draw.normal(size=(20, 4)), draw.uniform(0.0, 2.0, 20)
    size[3] = 0.0
    wanted = [single_cone_violation(a, v, s) for a, v, s in zip(along, multipliers, size, strict=True)]
    np.testing.assert_allclose(cone_violation(along, multipliers, size), wanted, rtol=1e-12)


@pytest.mark.parametrize("c", [0.1, 0.4, 0.95])
def test_the_closed_form_of_two_tasks_is_the_general_one(c: float) -> None:
    grams = grams_of(jacobians(2, 2, each=20))
    scale = np.trace(grams, axis1=1, axis2=2) / 2.0
    grams = grams[scale > 0.0] / scale[scale > 0.0, None, None]
    radius = c * np.sqrt(np.maximum(grams.mean(axis=(1, 2)), 0.0))
    with np.errstate(all="ignore"):
        accurate, shifts = conflict_averse._of_two(grams, radius)
        accurate &= radius > 1e-8
        general, gaps = conflict_averse._by_roots(factor(grams[accurate]), c)
    assert accurate.mean() > 0.3 and gaps.max() < 1e-11
    np.testing.assert_allclose(shifts[accurate], general, atol=1e-11)


def test_coordinates_keep_the_digits_of_short_gradients() -> None:
    grams = grams_of(jacobians(4, 5))
    lengths = np.sqrt(np.diagonal(grams, axis1=1, axis2=2))
    error = np.abs(grams_of(factor(grams)) - grams)
    assert (error <= 1e-14 * lengths[:, :, None] * lengths[:, None, :]).all()


def test_one_singular_system_does_not_stop_the_others() -> None:
    matrices = np.stack([np.eye(2) * 2.0, np.zeros((2, 2)), np.eye(2)])
    solutions = solve(matrices, np.ones((3, 2, 1)))[:, :, 0]
    assert solutions[[0, 2]].tolist() == [[0.5, 0.5], [1.0, 1.0]] and np.isnan(solutions[1]).all()


WRONG: list[tuple[str, ModuleType, str]] = [
    ("nash-mtl", bargains, "balanced"),
    ("fairgrad", bargains, "balanced"),
    ("mgda", hulls, "nearest_in_hull"),
    ("cagrad", hulls, "conflict_averse"),
    ("upgrad", cones, "project"),
    ("dualproj", cones, "project"),
]


@pytest.mark.parametrize("worst", [1e-9, np.nan, np.inf])
@pytest.mark.parametrize(("name", "module", "solver"), WRONG)
def test_what_a_solver_cannot_vouch_for_is_solved_alone(
    name: str, module: ModuleType, solver: str, worst: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A solver that is wrong on every second problem, and says so, changes no answer."""
    original: Callable[..., Any] = getattr(module, solver)

    def wrong(*arguments: Any, **options: Any) -> tuple[np.ndarray, np.ndarray]:
        solution, violation = (np.array(part) for part in original(*arguments, **options))
        solution[::2], violation[::2] = 1e3, worst
        return solution, violation

    monkeypatch.setattr(module, solver, wrong)
    rows = np.random.default_rng(8).normal(size=(6, 4, 5)) - 0.3
    form, oracle = batched(get_method(name), range(6)), OneByOne(get_method(name), range(6))
    assert_agree(form.weights(gram=grams_of(rows)), oracle.weights(gram=grams_of(rows)), rows)
    assert not form.failures


@pytest.mark.parametrize("name", ["mgda", "cagrad", "upgrad", "dualproj"])
def test_running_out_of_iterations_is_no_answer(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Problems that do not converge have no numbers, and none is accepted for them."""
    monkeypatch.setattr(nonnegative_module, "ITERATIONS", 0)
    assert np.isnan(nonnegative(np.eye(3)[None], np.ones((1, 3)))).all()
    rows = np.random.default_rng(8).normal(size=(6, 4, 5)) - 0.3
    form, oracle = batched(get_method(name), range(6)), OneByOne(get_method(name), range(6))
    assert_agree(form.weights(gram=grams_of(rows)), oracle.weights(gram=grams_of(rows)), rows)


def test_a_problem_without_a_solution_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the single solver rejects too is a SolverError of this problem."""
    monkeypatch.setattr(bargains, "balanced", lambda c, b, power: (np.ones_like(b), np.array([0.0, 1.0, 0.0])))

    def rejecting(self: Any, observation: Any) -> Any:
        raise SolverError("nash-mtl: optimality violated by 1.0e+00")

    form = batched(get_method("nash-mtl"), range(3))
    monkeypatch.setattr(type(form.method), "weights", rejecting)
    weights = form.weights(gram=np.stack([np.eye(3)] * 3))
    assert np.isnan(weights[1]).all() and weights[[0, 2]].tolist() == [[1.0] * 3] * 2
    assert isinstance(form.failures[1], SolverError) and list(form.failures) == [1]
