"""MGDA-UB: a published value, and orthogonal representations."""

from __future__ import annotations

import numpy as np
import pytest
from families import PUBLISHED

from mtlbench import aggregate, get_method, weights


def test_published_value() -> None:
    assert aggregate("mgda-ub", PUBLISHED) == pytest.approx([0.0, 1.0, 1.0], abs=1e-4)


@pytest.mark.parametrize("tasks", [2, 5])
def test_mgda_ub_of_separate_batches_weighs_by_inverse_squares(tasks: int) -> None:
    """Representations of different batches are different coordinates: the gradients are orthogonal."""
    norms = np.random.default_rng(0).uniform(0.1, 10.0, tasks)
    assert weights("mgda-ub", np.diag(norms**2)) == pytest.approx(norms**-2 / (norms**-2).sum(), rel=1e-12)
    assert get_method("mgda-ub").gram_of == "representation" and get_method("mgda").gram_of == "shared"
