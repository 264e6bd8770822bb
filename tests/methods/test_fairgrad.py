"""FairGrad: TorchJD, a conic solver, its defining equation, and Nash-MTL at α = 1."""

from __future__ import annotations

import numpy as np
import pytest
from assertions import angle, distance
from families import SIZES, jacobian
from oracles import conic, cvxpy, peer
from torchjd import aggregation as torchjd

from mtlbench import UsageError, aggregate, get_method, weights


@pytest.mark.parametrize("tasks", SIZES)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_fairgrad_is_torchjd(alpha: float, seed: int, tasks: int) -> None:
    rows = jacobian(seed, tasks, 20)
    assert distance(aggregate("fairgrad", rows, alpha=alpha), peer(torchjd.FairGrad(alpha), rows)) < 1e-4


@pytest.mark.parametrize("tasks", [2, 3, 8])
def test_fairgrad_maximises_alpha_fair_progress(tasks: int) -> None:
    """At α = 2 the utility Σ ⟨gᵢ, d⟩^(1−α)/(1−α) is −Σ 1/⟨gᵢ, d⟩."""
    rows = jacobian(5, tasks, 20)
    d = cvxpy.Variable(20)
    conic(cvxpy.Problem(cvxpy.Minimize(cvxpy.sum(cvxpy.inv_pos(rows @ d))), [cvxpy.norm(d, 2) <= 1]))
    assert angle(aggregate("fairgrad", rows), np.asarray(d.value)) < 1e-4


@pytest.mark.parametrize("alpha", [0.3, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("spread", [0.0, 3.0, 10.0])
@pytest.mark.parametrize("tasks", [1, 2, 8])
def test_fairgrad_weights_solve_their_equation(tasks: int, spread: float, alpha: float) -> None:
    """⟨gᵢ, d⟩ = xᵢ^(−1/α), relative to the terms of ⟨gᵢ, d⟩: norms over twenty orders leave no more."""
    for seed in range(5):
        rows = jacobian(seed, tasks, 40, spread)
        gram = rows @ rows.T
        x = weights("fairgrad", gram, alpha=alpha)
        assert x.min() > 0.0
        wanted = x ** (-1.0 / alpha)
        assert (np.abs(gram @ x - wanted) / (np.abs(gram) @ x + wanted)).max() < 1e-7


@pytest.mark.parametrize("spread", [0.0, 3.0])
@pytest.mark.parametrize("tasks", [2, 3, 8])
def test_fairgrad_of_alpha_one_is_nash(tasks: int, spread: float) -> None:
    rows = jacobian(6, tasks, 20, spread)
    assert aggregate("fairgrad", rows, alpha=1.0) == pytest.approx(aggregate("nash-mtl", rows), rel=1e-9)


def test_the_engine_is_asked_to_clip() -> None:
    assert get_method("fairgrad").clip_norm == 1.0
    assert get_method("fairgrad", max_norm=0.3).clip_norm == 0.3
    assert get_method("fairgrad", max_norm=0).clip_norm is None


def test_parameters_out_of_range_are_refused() -> None:
    with pytest.raises(UsageError, match="should be"):
        get_method("fairgrad[alpha=0]")
