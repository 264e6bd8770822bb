"""DB-MTL: the paper's algorithm on vectors, and values by hand."""

from __future__ import annotations

import numpy as np
import pytest
from families import jacobians, losses_of

from mtlbench import aggregate, get_method


@pytest.mark.parametrize(("beta", "sigma"), [(0.9, 0.0), (0.5, 0.5), (0.0, 0.0)])
def test_db_mtl_is_the_papers_algorithm(beta: float, sigma: float) -> None:
    method, average = get_method("db-mtl", beta=beta, beta_sigma=sigma), np.zeros((3, 10))
    for step, rows in enumerate(jacobians(1, 3, 10, spread=2.0), start=1):
        losses, now = losses_of(step, 3), beta / step**sigma
        average = now * average + (1 - now) * rows / losses[:, None]
        norms = np.linalg.norm(average, axis=1)
        wanted = sum(norms.max() / norm * row for norm, row in zip(norms, average, strict=True))
        assert aggregate(method, rows, losses=losses) == pytest.approx(wanted, rel=1e-9)


def test_db_mtl_by_hand_with_a_zero_gradient() -> None:
    """u = ½ (g₁/2, 0, g₃/4) = ½ ((1, 0), 0, (0, 3)): the first is brought to the length of the third."""
    rows = np.array([[2.0, 0.0], [0.0, 0.0], [0.0, 12.0]])
    found = aggregate("db-mtl[beta=0.5]", rows, losses=[2.0, 1.0, 4.0])
    assert found == pytest.approx([1.5, 1.5], rel=1e-14)
