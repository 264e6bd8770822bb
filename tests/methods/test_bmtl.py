"""BMTL: the derivative of its objective, and its limits."""

from __future__ import annotations

import numpy as np
import pytest
from families import LOSSES
from oracles import gradient

from mtlbench import UsageError, get_method, weights


@pytest.mark.parametrize("temperature", [0.5, 1.0, 7.0])
def test_the_direction_is_that_of_the_sum_of_exponentials(temperature: float) -> None:
    wanted = gradient(lambda losses: (losses / temperature).exp().sum(), LOSSES)
    got = weights("bmtl", losses=LOSSES, temperature=temperature)
    assert got == pytest.approx(3.0 * wanted / wanted.sum(), rel=1e-12)


def test_limits() -> None:
    assert weights("bmtl[temperature=1e12]", losses=LOSSES) == pytest.approx(np.ones(3), rel=1e-10)
    assert weights("bmtl[temperature=1e-3]", losses=LOSSES) == pytest.approx([0.0, 0.0, 3.0], abs=1e-12)
    assert weights("bmtl", losses=[1e6, 1e6]) == pytest.approx([1.0, 1.0])  # exponentials overflow


def test_parameters_out_of_range() -> None:
    with pytest.raises(UsageError, match="method bmtl: parameter"):
        get_method("bmtl[temperature=0]")
