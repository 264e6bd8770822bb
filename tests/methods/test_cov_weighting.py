"""CoV-Weighting: statistics of the past by NumPy, and what they do not depend on."""

from __future__ import annotations

import numpy as np
import pytest
from families import LOSSES, series

from mtlbench import UsageError, get_method, weights


def test_weights_are_coefficients_of_variation_of_the_past() -> None:
    method, rows = get_method("cov-weighting"), series(12)
    ratios = np.array([rows[step] / (rows[:step].mean(axis=0) if step else rows[0]) for step in range(12)])
    for step, row in enumerate(rows):
        got = weights(method, losses=row)
        if step < 2:
            assert got == pytest.approx(np.full(3, 1 / 3), rel=1e-15)
        else:
            variation = ratios[:step].std(axis=0) / ratios[:step].mean(axis=0)
            assert got == pytest.approx(variation / variation.sum(), rel=1e-10)


def test_equal_relative_changes_get_equal_weights() -> None:
    method = get_method("cov-weighting")
    for row in series(6):
        got = weights(method, losses=row[0] * LOSSES)
    assert got == pytest.approx(np.full(3, 1 / 3), rel=1e-12)


def test_losses_that_never_varied_get_equal_weights_and_a_varying_one_gets_all() -> None:
    method = get_method("cov-weighting")
    for _ in range(4):
        assert weights(method, losses=[2.0, 0.5]).tolist() == [0.5, 0.5]
    weights(method, losses=[2.0, 0.6])
    assert weights(method, losses=[2.0, 0.5]).tolist() == [0.0, 1.0]


def test_units_of_losses_do_not_matter() -> None:
    first, second = get_method("cov-weighting[decay=0.9]"), get_method("cov-weighting[decay=0.9]")
    for row in series(8):
        got = weights(first, losses=row)
        assert weights(second, losses=row * [1e-6, 1.0, 40.0]) == pytest.approx(got, rel=1e-9)


@pytest.mark.parametrize("spec", ["cov-weighting[decay=1]", "cov-weighting[decay=-0.1]"])
def test_parameters_out_of_range(spec: str) -> None:
    with pytest.raises(UsageError, match="method cov-weighting: parameter"):
        get_method(spec)
