"""IGB: the warm-up, weights by hand, and what they do not depend on."""

from __future__ import annotations

import numpy as np
import pytest
from families import LOSSES, series

from mtlbench import UsageError, get_method, weights


def test_the_warm_up_is_the_sum_of_logs_and_its_second_half_gives_the_base() -> None:
    method = get_method("igb[warmup=4]")
    for row in ([9.0, 9.0], [9.0, 9.0], [1.0, 3.0], [3.0, 1.0]):
        assert weights(method, losses=row) == pytest.approx(1.0 / np.array(row), rel=1e-15)
    assert weights(method, losses=[1.0, 3.0]) == pytest.approx([0.537883, 1.462117 / 3.0], abs=1e-6)


def test_losses_at_their_base_get_the_sum_of_logs() -> None:
    method = get_method("igb[warmup=1]")
    for _ in range(3):
        assert weights(method, losses=LOSSES) == pytest.approx(1.0 / LOSSES, rel=1e-15)


def test_units_of_losses_do_not_matter() -> None:
    units = np.array([1e-3, 1.0, 50.0])
    first, second = get_method("igb[warmup=2]"), get_method("igb[warmup=2]")
    for row in series(6):
        got = weights(first, losses=row)
        assert weights(second, losses=row * units) * units == pytest.approx(got, rel=1e-12)


def test_parameters_out_of_range() -> None:
    with pytest.raises(UsageError, match="method igb: parameter"):
        get_method("igb[warmup=0]")
