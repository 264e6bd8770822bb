"""IMTL-G: a published value, TorchJD, the closed form of the paper, and limits at singular matrices."""

from __future__ import annotations

import math

import numpy as np
import pytest
from assertions import distance, lengths
from families import PUBLISHED, SIZES, jacobian
from oracles import peer
from torchjd import aggregation as torchjd

from mtlbench import SolverError, aggregate, weights


def test_published_value() -> None:
    assert aggregate("imtl-g", PUBLISHED) == pytest.approx([0.0767, 1.0, 1.0], abs=1e-4)


@pytest.mark.parametrize("tasks", SIZES)
@pytest.mark.parametrize("seed", range(3))
def test_imtl_g_is_torchjd(seed: int, tasks: int) -> None:
    rows = jacobian(seed, tasks, 20)
    assert distance(aggregate("imtl-g", rows), peer(torchjd.IMTLG(), rows)) < 1e-7


@pytest.mark.parametrize("tasks", [2, 3, 8])
def test_imtl_g_has_equal_projections(tasks: int) -> None:
    rows = jacobian(7, tasks, 20, spread=2.0)
    along = rows / lengths(rows)[:, None] @ aggregate("imtl-g", rows)
    assert along == pytest.approx(np.full(tasks, along.mean()), rel=1e-9)
    assert weights("imtl-g", rows @ rows.T).sum() == pytest.approx(1.0, rel=1e-12)


def test_imtl_g_is_the_closed_form_of_the_paper() -> None:
    """α₂… = g₁Uᵀ(DUᵀ)⁻¹ with the rows u₁ − uᵢ of U and g₁ − gᵢ of D, and α₁ = 1 − Σ αᵢ."""
    rows = jacobian(8, 5, 20, spread=1.0)
    units = rows / lengths(rows)[:, None]
    apart, between = units[0] - units[1:], rows[0] - rows[1:]
    others = rows[0] @ apart.T @ np.linalg.inv(between @ apart.T)
    assert weights("imtl-g", rows @ rows.T) == pytest.approx([1.0 - others.sum(), *others], rel=1e-7)


def test_imtl_g_of_singular_matrices_is_the_limit() -> None:
    """Opposite gradients have d = 0; so have three in a plane, whose affine hull of unit vectors holds the origin."""
    rows = np.array([[2.0, 0.0], [-0.5, 0.0]])
    assert weights("imtl-g", rows @ rows.T) == pytest.approx([0.2, 0.8], rel=1e-12)
    for seed in range(20):
        rows = jacobian(seed, 3, 2)
        cosines = rows @ rows.T / np.outer(lengths(rows), lengths(rows))
        near = np.linalg.solve(cosines + 1e-9 * np.eye(3), np.ones(3)) / lengths(rows)
        found = weights("imtl-g", rows @ rows.T)
        assert found == pytest.approx(near / near.sum(), rel=1e-4)
        assert np.linalg.norm(found @ rows) < 1e-7 * (np.abs(found) @ lengths(rows))


def test_imtl_g_shares_the_weight_of_duplicates() -> None:
    rows = np.array([[1.0, 2.0], [1.0, 2.0], [3.0, -1.0]])
    pair = weights("imtl-g", rows[1:] @ rows[1:].T)
    assert weights("imtl-g", rows @ rows.T) == pytest.approx([pair[0] / 2, pair[0] / 2, pair[1]], rel=1e-9)


def test_imtl_g_refuses_weights_that_cannot_sum_to_one() -> None:
    """β = (1, 1, −1) of unit gradients: u₁ + u₂ − u₃ has equal products with all three, as u₁ ⊥ u₂ and u₃ = u₁ + u₂.

    Here the lengths are chosen so that Σ βᵢ/‖gᵢ‖ = 0.
    """
    units = np.array([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [0.9, 0.3, math.sqrt(0.1)]])
    beta = np.linalg.solve(units @ units.T, np.ones(3))
    assert beta.min() < 0.0 < beta.max()
    worst = int(beta.argmin())
    scale = np.ones(3)
    scale[worst] = -beta[worst] / (beta.sum() - beta[worst])
    rows = units * scale[:, None]
    with pytest.raises(SolverError, match=r"imtl-g.*gram \[\["):
        weights("imtl-g", rows @ rows.T)
