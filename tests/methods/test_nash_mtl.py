"""Nash-MTL: a published value, a conic solver, its defining equation, and the closed form of two tasks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from assertions import angle, lengths
from families import PUBLISHED, jacobian
from oracles import conic, cvxpy

from mtlbench import UsageError, aggregate, get_method, weights
from mtlbench.contract.method_input import observe


def test_published_value() -> None:
    """Published after the clip to 1; the length is √K before it."""
    wanted = [0.0542 * math.sqrt(2), 0.7061 * math.sqrt(2), 0.7061 * math.sqrt(2)]
    assert aggregate("nash-mtl", PUBLISHED) == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("spread", [0.0, 1.0])
@pytest.mark.parametrize("tasks", [2, 3, 8])
def test_nash_is_the_bargaining_solution(tasks: int, spread: float) -> None:
    """d/‖d‖ maximises Σ log ⟨gᵢ, d⟩ over the unit ball: where a gradient's length adds only a constant."""
    rows = jacobian(4, tasks, 20, spread)
    d = cvxpy.Variable(20)
    units = rows / lengths(rows)[:, None]
    conic(cvxpy.Problem(cvxpy.Maximize(cvxpy.sum(cvxpy.log(units @ d))), [cvxpy.norm(d, 2) <= 1]))
    assert angle(aggregate("nash-mtl", rows), np.asarray(d.value)) < 1e-4


@pytest.mark.parametrize("spread", [0.0, 3.0, 10.0])
@pytest.mark.parametrize("tasks", [1, 2, 8, 16])
def test_nash_weights_solve_their_equation(tasks: int, spread: float) -> None:
    for seed in range(5):
        rows = jacobian(seed, tasks, 40, spread)
        found = weights("nash-mtl", rows @ rows.T)
        assert found.min() > 0.0
        assert found * (rows @ (found @ rows)) == pytest.approx(np.ones(tasks), rel=1e-6)


@pytest.mark.parametrize("degrees", [0.0, 10.0, 90.0, 135.0, 179.0])
@pytest.mark.parametrize("scale", [1e-10, 1.0, 1e15])
def test_nash_of_two_tasks_has_a_closed_form(degrees: float, scale: float) -> None:
    """αᵢ = 1/(‖gᵢ‖√(1 + cos θ))."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    rows = scale * np.array([[2.0, 0.0], [0.3 * cosine, 0.3 * sine]])
    wanted = 1.0 / (lengths(rows) * math.sqrt(1.0 + cosine))
    assert weights("nash-mtl", rows @ rows.T) == pytest.approx(wanted, rel=1e-6)


def test_the_engine_is_asked_to_clip() -> None:
    assert get_method("nash-mtl").clip_norm == 1.0
    assert get_method("nash-mtl", max_norm=0.3).clip_norm == 0.3
    assert get_method("nash-mtl", max_norm=0).clip_norm is None


def test_nash_keeps_its_weights_between_computations() -> None:
    method, grams = get_method("nash-mtl", every=3), [rows @ rows.T for rows in (jacobian(s, 3, 9) for s in range(6))]
    found = [weights(method, gram) for gram in grams]
    fresh = [weights("nash-mtl", gram) for gram in grams]
    for step in range(6):
        assert found[step].tolist() == fresh[3 * (step // 3)].tolist()
    assert method.residual(observe(method, gram=grams[5]), found[5]) is None


@pytest.mark.parametrize("factor", [1e-9, 1e3])
def test_nash_does_not_depend_on_the_scale_of_a_loss(factor: float) -> None:
    for seed in range(3):
        rows = jacobian(seed, 5, 20)
        scaled = rows.copy()
        scaled[2] *= factor
        assert aggregate("nash-mtl", scaled) == pytest.approx(aggregate("nash-mtl", rows), rel=1e-8)


@pytest.mark.parametrize("spec", ["nash-mtl[every=0]", "nash-mtl[max_norm=-1]"])
def test_parameters_out_of_range_are_refused(spec: str) -> None:
    with pytest.raises(UsageError, match="should be"):
        get_method(spec)
