"""EMA scaling: running means by hand, and its reduction to the sum of logs."""

from __future__ import annotations

import pytest
from families import LOSSES, series

from mtlbench import UsageError, get_method, weights


def test_by_hand() -> None:
    method = get_method("ema-scaling[decay=0.75]")
    assert weights(method, losses=[2.0, 4.0]).tolist() == [0.5, 0.25]
    assert weights(method, losses=[4.0, 0.0]) == pytest.approx([1 / 2.5, 1 / (3.0 + 0.25e-8)], rel=1e-14)


def test_without_a_past_it_is_the_sum_of_logs() -> None:
    method = get_method("ema-scaling[decay=0]")
    for row in series(4):
        assert weights(method, losses=row) == pytest.approx(weights("si", losses=row), rel=1e-15)


def test_units_of_losses_do_not_matter() -> None:
    first, second = get_method("ema-scaling"), get_method("ema-scaling")
    for row in series(4):
        got = weights(first, losses=row)
        assert weights(second, losses=row * LOSSES) * LOSSES == pytest.approx(got, rel=1e-13)


def test_parameters_out_of_range() -> None:
    with pytest.raises(UsageError, match="method ema-scaling: parameter"):
        get_method("ema-scaling[decay=1]")
