"""Group DRO: shares by hand, and its reduction to the mean."""

from __future__ import annotations

import numpy as np
import pytest
from families import series

from mtlbench import UsageError, get_method, weights


def test_shares_grow_with_the_sum_of_the_losses() -> None:
    method, total = get_method("group-dro[step_size=0.3]"), np.zeros(3)
    for row in series(6):
        total += row
        wanted = np.exp(0.3 * total)
        assert weights(method, losses=row) == pytest.approx(wanted / wanted.sum(), rel=1e-12)


def test_without_steps_it_is_the_mean() -> None:
    assert weights("group-dro[step_size=0]", losses=[1.0, 5.0, 9.0]) == pytest.approx(np.full(3, 1 / 3))


def test_it_goes_against_go4align() -> None:
    """Its shares are those of GO4Align with the sign turned."""
    losses = np.array([1.0, 2.0, 4.0])
    shares = weights("go4align[step_size=0.2,groups=3]", losses=losses) * losses / losses.mean()
    inverse = 1.0 / weights("group-dro[step_size=0.2]", losses=losses)
    assert shares == pytest.approx(inverse / inverse.sum(), rel=1e-12)


def test_shares_do_not_overflow() -> None:
    method = get_method("group-dro[step_size=1]")
    for _ in range(3):
        assert weights(method, losses=[1e4, 1.0]).tolist() == [1.0, 0.0]


def test_parameters_out_of_range() -> None:
    with pytest.raises(UsageError, match="method group-dro: parameter"):
        get_method("group-dro[step_size=-1]")
