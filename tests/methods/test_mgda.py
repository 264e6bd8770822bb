"""MGDA: a published value, TorchJD, a conic solver on the primal problem, and its optimality conditions."""

from __future__ import annotations

import numpy as np
import pytest
from assertions import distance, longest
from families import GRAM_NOISE, PUBLISHED, SIZES, checked, drawn, every_family, examples, jacobian
from oracles import conic, cvxpy, peer
from torchjd import aggregation as torchjd

from mtlbench import Matrix, Vector, aggregate, weights
from mtlbench.check.families import Family, non_stationary, strongly_stationary, weakly_stationary, zero_rows


def test_published_value() -> None:
    assert aggregate("mgda", PUBLISHED, losses=[1.0, 1.0]) == pytest.approx([0.0, 1.0, 1.0], abs=1e-4)


@pytest.mark.parametrize("tasks", SIZES)
@pytest.mark.parametrize("seed", range(4))
def test_mgda_is_at_least_as_short_as_torchjd_and_agrees(seed: int, tasks: int) -> None:
    """A point q of the hull is no further from the nearest point p than ‖q − p‖² ≤ ‖q‖² − ‖p‖².

    (⟨q − p, p⟩ ≥ 0 by optimality of p.) Their Frank–Wolfe iterations end on a q up to 5 % away from p.
    """
    rows = jacobian(seed, tasks, 20)
    ours, theirs = aggregate("mgda", rows), peer(torchjd.MGDA(epsilon=1e-9, max_iters=500), rows)
    assert np.sum((theirs - ours) ** 2) <= theirs @ theirs - ours @ ours + 1e-12
    assert distance(ours, theirs) < 0.1


def nearest_point(rows: Matrix) -> Vector:
    """Return the point of the hull of linearly independent rows that is nearest to 0, as a maximum margin.

    With u = argmin ‖u‖ subject to ⟨gᵢ, u⟩ ≥ 1, the point is p = u/‖u‖²: every hull point q has ⟨q, u⟩ ≥ 1, so
    ‖q‖ ≥ 1/‖u‖ = ‖p‖, and by duality of the problem p is in the hull. The constraints are divided by ‖gᵢ‖, and
    the shortest gradient made 1, which keeps the solver in its comfort whatever the norms are.
    """
    lengths = np.linalg.norm(rows, axis=1)
    u = cvxpy.Variable(rows.shape[1])
    conic(cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(u)), [rows / lengths[:, None] @ u >= lengths.min() / lengths]))
    found = np.asarray(u.value)
    return np.asarray(found / (found @ found) * lengths.min())


@pytest.mark.parametrize("spread", [0.0, 3.0])
@pytest.mark.parametrize("tasks", [2, 3, 8, 16])
def test_mgda_is_the_nearest_point(tasks: int, spread: float) -> None:
    for seed in range(3):
        rows = jacobian(seed, tasks, 20, spread)
        ours, wanted = aggregate("mgda", rows), nearest_point(rows)
        assert np.linalg.norm(ours) <= np.linalg.norm(wanted) * (1 + 1e-7)
        assert distance(ours, wanted) < 1e-5


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([1.0, 0.0], [0.0, 1.0]),
        ([1.0, 0.0], [2.0, 1.0]),
        ([1.0, 0.0], [0.5, 1e-3]),
        ([1.0, 2.0], [-3.0, 1.0]),
        ([1.0, 0.0], [-1.0, 0.0]),
        ([1e-3, 0.0], [-1e3, 2e3]),
        ([2.0, 2.0], [2.0, 2.0]),
    ],
)
def test_mgda_of_two_tasks_has_a_closed_form(first: list[float], second: list[float]) -> None:
    """w₁ = clip(⟨g₂ − g₁, g₂⟩ / ‖g₁ − g₂‖², 0, 1): the foot of the perpendicular on the segment (paper, eq. 4)."""
    a, b = np.array(first), np.array(second)
    between = float((a - b) @ (a - b))
    weight = min(max(float((b - a) @ b) / between, 0.0), 1.0) if between else 0.5
    assert aggregate("mgda", np.stack([a, b])) == pytest.approx(weight * a + (1 - weight) * b, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("normalize", "scale"),
    [
        ("l2", lambda norms, losses: norms),
        ("loss", lambda norms, losses: losses),
        ("loss+", lambda norms, losses: norms * losses),
    ],
)
def test_mgda_normalize_combines_the_divided_gradients(normalize: str, scale: object) -> None:
    assert callable(scale)
    rows, losses = jacobian(3, 4, 20, 1.0), np.array([0.5, 2.0, 3.0, 0.1])
    divided = rows / scale(np.linalg.norm(rows, axis=1), losses)[:, None]
    ours = aggregate("mgda", rows, losses=losses, normalize=normalize)
    assert distance(ours, nearest_point(divided)) < 1e-5


@every_family
@checked
@examples
def test_mgda_meets_the_optimality_conditions(family: Family, seed: int, tasks: int, size: int) -> None:
    """w of the simplex is optimal exactly if ⟨gᵢ, d⟩ ≥ ‖d‖² for all i, with equality where wᵢ > 0."""
    rows = drawn(family, seed, tasks, size)
    found = weights("mgda", rows @ rows.T)
    update = found @ rows
    slack = rows @ update - update @ update
    assert found.min() >= 0.0 and found.sum() == pytest.approx(1.0, rel=1e-12)
    assert slack.min() >= -1e-8 * longest(rows) ** 2
    assert np.abs(found * slack).max() <= 1e-8 * longest(rows) ** 2


@pytest.mark.parametrize("family", [strongly_stationary, weakly_stationary, zero_rows])
@checked
@examples
def test_mgda_is_zero_at_stationary_points(family: Family, seed: int, tasks: int, size: int) -> None:
    rows = drawn(family, seed, tasks, size)
    assert np.linalg.norm(aggregate("mgda", rows)) <= GRAM_NOISE * longest(rows)


@checked
@examples
def test_mgda_improves_every_task_elsewhere(seed: int, tasks: int, size: int) -> None:
    rows = drawn(non_stationary, seed, tasks, size)
    assert (rows @ aggregate("mgda", rows)).min() > 0.0
