"""EDM: a published conflict, and its identities with IMTL-G and MGDA."""

from __future__ import annotations

import numpy as np
import pytest
from assertions import angle
from families import PUBLISHED, jacobian

from mtlbench import weights


def test_published_conflict() -> None:
    got = weights("edm", PUBLISHED @ PUBLISHED.T)
    assert got == pytest.approx([0.592330, 0.407670], abs=1e-6)
    assert got @ PUBLISHED == pytest.approx([0.076697, 1.0, 1.0], abs=1e-6)


@pytest.mark.parametrize("tasks", [2, 3, 5])
def test_it_is_imtl_g_where_no_weight_of_that_is_negative(tasks: int) -> None:
    alike = 0
    for seed in range(12):
        gram = (rows := jacobian(seed, tasks, 12, spread=1.0)) @ rows.T
        wanted = weights("imtl-g", gram)
        if (wanted >= 0.0).all():
            alike += 1
            assert weights("edm", gram) == pytest.approx(wanted, rel=1e-7)
    assert alike >= 3


@pytest.mark.parametrize("seed", range(6))
def test_its_direction_is_that_of_mgda_on_unit_gradients(seed: int) -> None:
    rows = jacobian(seed, 4, 6, spread=2.0)
    gram = rows @ rows.T
    got, wanted = weights("edm", gram), weights("mgda[normalize=l2]", gram)
    assert angle(got @ rows, wanted @ rows) < 1e-7
    assert got.sum() == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_equal_norms_give_mgda(seed: int) -> None:
    rows = jacobian(seed, 4, 6)
    rows /= np.linalg.norm(rows, axis=1)[:, None]
    assert weights("edm", rows @ rows.T) == pytest.approx(weights("mgda", rows @ rows.T), abs=1e-9)


def test_a_zero_gradient_stops_the_update() -> None:
    assert weights("edm", np.diag([0.0, 4.0, 0.0])).tolist() == [0.5, 0.0, 0.5]
