"""IMGrad: a published conflict by hand, its reductions, and a general optimizer."""

from __future__ import annotations

import numpy as np
import pytest
from families import PUBLISHED, jacobian
from scipy.optimize import minimize

from mtlbench import UsageError, get_method, weights


def test_published_conflict() -> None:
    got = weights("imgrad", PUBLISHED @ PUBLISHED.T) @ PUBLISHED
    assert got == pytest.approx([0.947961, 1.488514, 1.488514], abs=1e-6)


def test_orthogonal_gradients_have_mgda_weights() -> None:
    assert weights("imgrad", np.eye(2)) == pytest.approx([0.7, 0.7], rel=1e-12)


@pytest.mark.parametrize("tasks", [2, 3, 5])
@pytest.mark.parametrize("seed", range(3))
def test_no_other_weights_are_better(seed: int, tasks: int) -> None:
    rows = jacobian(seed, tasks, 8)
    rows /= np.sqrt(np.mean(np.sum(rows**2, axis=1)))
    mean = rows.mean(axis=0)
    radius = 0.4 * np.linalg.norm(mean)
    point = weights("mgda", rows @ rows.T) @ rows
    cosine = point @ mean / np.linalg.norm(point) / np.linalg.norm(mean)

    def objective(shares: np.ndarray) -> float:
        g = shares @ rows
        return float((1 - cosine) * (g @ mean + radius * np.linalg.norm(g)) + cosine * (g @ g))

    added = weights("imgrad", rows @ rows.T) - 1.0 / tasks
    best = minimize(
        objective,
        np.full(tasks, 1.0 / tasks),
        bounds=[(0.0, 1.0)] * tasks,
        constraints=[{"type": "eq", "fun": lambda shares: shares.sum() - 1.0}],
        options={"ftol": 1e-15, "maxiter": 1000},
    )
    assert objective(added / added.sum()) <= best.fun + 1e-12
    assert np.linalg.norm(added @ rows) == pytest.approx(radius, rel=1e-9)


def test_where_mgda_has_no_direction_it_is_cagrad() -> None:
    rows = np.array([[1.0, 0.2], [-1.0, 0.0], [0.0, -0.1]])
    assert weights("imgrad", rows @ rows.T) @ rows == pytest.approx(weights("cagrad", rows @ rows.T) @ rows, abs=1e-5)


def test_without_a_radius_it_is_the_mean() -> None:
    assert weights("imgrad[c=0]", PUBLISHED @ PUBLISHED.T).tolist() == [0.5, 0.5]


def test_parameters_out_of_range() -> None:
    with pytest.raises(UsageError, match="method imgrad: parameter"):
        get_method("imgrad[c=1]")
