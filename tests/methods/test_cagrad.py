"""CAGrad: a published value, TorchJD, a conic solver on the primal problem, and its duality gap."""

from __future__ import annotations

import numpy as np
import pytest
from assertions import close, distance, longest
from families import GRAM_NOISE, PUBLISHED, SIZES, checked, drawn, every_family, examples, jacobian
from oracles import conic, cvxpy, peer
from torchjd import aggregation as torchjd

from mtlbench import Matrix, Vector, aggregate, weights
from mtlbench.check.families import Family, non_stationary, weakly_stationary


def test_published_value() -> None:
    assert aggregate("cagrad[c=0.5]", PUBLISHED, losses=[1.0, 1.0]) == pytest.approx([0.1835, 1.2041, 1.2041], abs=1e-4)


@pytest.mark.parametrize("tasks", SIZES)
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("c", [0.1, 0.4, 0.9])
def test_cagrad_is_torchjd(seed: int, tasks: int, c: float) -> None:
    rows = jacobian(seed, tasks, 20)
    assert distance(aggregate("cagrad", rows, c=c), peer(torchjd.CAGrad(c, norm_eps=1e-12), rows)) < 1e-4


@pytest.mark.parametrize("tasks", SIZES)
@pytest.mark.parametrize("seed", range(4))
def test_cagrad_of_radius_zero_is_torchjds_mean(seed: int, tasks: int) -> None:
    rows = jacobian(seed, tasks, 20)
    assert aggregate("cagrad", rows, c=0.0) == pytest.approx(peer(torchjd.Mean(), rows), rel=1e-12)


def conflict_averse(rows: Matrix, c: float) -> Vector:
    """Return argmax_d minᵢ ⟨gᵢ, d⟩ subject to ‖d − g₀‖ ≤ c‖g₀‖: equation 3 of Liu et al. 2021, with units as above."""
    lengths, mean = np.linalg.norm(rows, axis=1), rows.mean(axis=0)
    unit = float(np.linalg.norm(mean))
    d, worst = cvxpy.Variable(rows.shape[1]), cvxpy.Variable()
    conic(
        cvxpy.Problem(
            cvxpy.Maximize(worst),
            [
                rows / lengths[:, None] @ d >= worst * (lengths.min() / lengths),
                cvxpy.norm(d - mean / unit, 2) <= c,
            ],
        )
    )
    return np.asarray(d.value) * unit


@pytest.mark.parametrize("c", [0.2, 0.4, 0.9])
@pytest.mark.parametrize("spread", [0.0, 3.0])
@pytest.mark.parametrize("tasks", [2, 3, 8, 16])
def test_cagrad_is_the_best_direction_of_its_ball(tasks: int, spread: float, c: float) -> None:
    rows = jacobian(7, tasks, 20, spread)
    ours, wanted = aggregate("cagrad", rows, c=c), conflict_averse(rows, c)
    best = float((rows @ wanted).min())
    unit = float(np.linalg.norm(rows, axis=1).min() * np.linalg.norm(rows.mean(axis=0)))
    assert (rows @ ours).min() >= best - 1e-7 * (unit + abs(best))
    assert distance(ours, wanted) < 1e-3  # the objective is flat at its top: directions agree to the root of that


@pytest.mark.parametrize(
    ("rescale", "reduction", "factor"),
    [
        ("none", "mean", 1.0),
        ("c2", "mean", 1 / 1.16),
        ("c", "mean", 1 / 1.4),
        ("none", "sum", 3.0),
        ("c2", "sum", 3 / 1.16),
        ("c", "sum", 3 / 1.4),
    ],
)
def test_cagrad_conventions(rescale: str, reduction: str, factor: float) -> None:
    rows = jacobian(1, 3, 20)
    ours = aggregate("cagrad", rows, c=0.4, rescale=rescale, reduction=reduction)
    assert ours == pytest.approx(aggregate("cagrad", rows, c=0.4) * factor, rel=1e-12)


@pytest.mark.parametrize("c", [0.4, 0.9])
@pytest.mark.parametrize("tasks", [3, 4])
def test_cagrad_has_a_limit_at_weakly_stationary_points(tasks: int, c: float) -> None:
    for seed in range(200):
        rows = drawn(weakly_stationary, seed, tasks, 40)
        found, mean = aggregate("cagrad", rows, c=c), rows.mean(axis=0)
        assert np.linalg.norm(found - mean) <= c * np.linalg.norm(mean) + GRAM_NOISE * longest(rows)
        assert (rows @ found).min() >= (rows @ mean).min() - GRAM_NOISE * longest(rows) ** 2


@every_family
@pytest.mark.parametrize("c", [0.05, 0.4, 0.9])
@checked
@examples
def test_cagrad_stays_in_its_ball_and_closes_the_gap(
    c: float, family: Family, seed: int, tasks: int, size: int
) -> None:
    """The value minᵢ ⟨gᵢ, d⟩ equals the dual's Σ wᵢ⟨gᵢ, d⟩ at the optimum; d − g₀ = λᵀJ with λ a multiple of w."""
    rows = drawn(family, seed, tasks, size)
    found, mean = weights("cagrad", rows @ rows.T, c=c), rows.mean(axis=0)
    update, dual, unit = found @ rows, found - 1.0 / tasks, longest(rows)
    radius = c * float(np.linalg.norm(mean))
    assert np.linalg.norm(update - mean) <= radius * (1 + 1e-8) + 1e-12 * unit
    assert dual.min() >= -1e-12
    along = rows @ update
    assert along.min() >= (rows @ mean).min() - 1e-8 * unit**2
    if dual.sum() > 0.0:
        assert dual @ along / dual.sum() - along.min() <= 1e-7 * unit**2


@checked
@examples
def test_cagrad_reaches_the_edge_of_its_ball_where_it_can_improve_all(seed: int, tasks: int, size: int) -> None:
    rows = drawn(non_stationary, seed, tasks, size)
    mean = rows.mean(axis=0)
    found = aggregate("cagrad", rows)
    assert np.linalg.norm(found - mean) == pytest.approx(0.4 * np.linalg.norm(mean), rel=1e-8)


@every_family
@checked
@examples
def test_cagrad_of_radius_zero_is_the_mean(family: Family, seed: int, tasks: int, size: int) -> None:
    rows = drawn(family, seed, tasks, size)
    assert close(aggregate("cagrad", rows, c=0.0), rows.mean(axis=0), longest(rows), 1e-14)
