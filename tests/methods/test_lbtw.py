"""LBTW: weights by hand, renewal, and α = 0."""

from __future__ import annotations

import numpy as np
import pytest
from families import LOSSES, series

from mtlbench import UsageError, get_method, weights


def test_by_hand() -> None:
    method = get_method("lbtw")
    assert weights(method, losses=[2.0, 2.0]).tolist() == [1.0, 1.0]
    assert weights(method, losses=[1.0, 3.0]) == pytest.approx([0.732051, 1.267949], abs=1e-6)


def test_renewed_losses_are_first_ones_again() -> None:
    method = get_method("lbtw[renew=3]")
    for number, row in enumerate(series(9)):
        equal = np.allclose(weights(method, losses=row), 1.0)
        assert equal == (number % 3 == 0)


def test_without_an_exponent_it_is_the_sum() -> None:
    method = get_method("lbtw[alpha=0]")
    for row in series(4):
        assert weights(method, losses=row) == pytest.approx(np.ones(3), rel=1e-15)


def test_weights_sum_to_the_number_of_tasks() -> None:
    method = get_method("lbtw[alpha=2]")
    weights(method, losses=LOSSES)
    assert weights(method, losses=LOSSES[::-1]).sum() == pytest.approx(3.0, rel=1e-14)


@pytest.mark.parametrize("spec", ["lbtw[alpha=-1]", "lbtw[renew=-1]"])
def test_parameters_out_of_range(spec: str) -> None:
    with pytest.raises(UsageError, match="method lbtw: parameter"):
        get_method(spec)
