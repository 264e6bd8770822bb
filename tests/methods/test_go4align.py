"""GO4Align: a first step by hand, reductions, and every split into groups tried."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from families import LOSSES

from mtlbench import UsageError, get_method, weights


def test_a_first_step_by_hand() -> None:
    """γ = (4.937692, .908238, .061458)/3: the last two are closest."""
    got = 3.0 * weights("go4align[step_size=1,groups=2]", losses=[1.0, 2.0, 4.0])
    assert got == pytest.approx([4.937692, 0.484848, 0.484848], abs=1e-6)


def test_one_group_has_equal_weights() -> None:
    got = weights("go4align[groups=1]", losses=LOSSES)
    assert got == pytest.approx(np.full(3, got[0]), rel=1e-15)


def test_without_steps_and_groups_it_is_the_sum_of_logs_at_the_mean_loss() -> None:
    assert weights("go4align[step_size=0,groups=3]", losses=LOSSES) == pytest.approx(LOSSES.mean() / LOSSES / 3)


def test_as_many_groups_as_tasks_share_the_mean_loss_by_p() -> None:
    method, past = get_method("go4align[step_size=0.3,groups=4]"), np.zeros(4)
    for seed in range(5):
        losses = np.random.default_rng(seed).uniform(0.1, 3.0, 4)
        past += losses
        shares = np.exp(-0.3 * past) / np.exp(-0.3 * past).sum()
        assert weights(method, losses=losses) * losses == pytest.approx(shares * losses.mean(), rel=1e-12)


@pytest.mark.parametrize("groups", [2, 3, 5])
@pytest.mark.parametrize("seed", range(5))
def test_no_other_split_is_closer(seed: int, groups: int) -> None:
    losses = np.random.default_rng([seed, 7]).uniform(0.05, 3.0, 7)
    gamma = weights("go4align[step_size=0.5,groups=7]", losses=losses)
    got = weights(f"go4align[step_size=0.5,groups={groups}]", losses=losses)
    ordered = np.sort(gamma)
    least = min(
        sum(float(((part - part.mean()) ** 2).sum()) for part in np.split(ordered, cuts))
        for cuts in combinations(range(1, 7), groups - 1)
    )
    assert float(((gamma - got) ** 2).sum()) == pytest.approx(least, rel=1e-9)
    assert len(np.unique(got)) == groups


def test_equal_tasks_share_a_group_even_where_there_are_enough() -> None:
    got = weights("go4align[step_size=1,groups=3]", losses=[1.0, 2.0, 2.0])
    assert got[1] == got[2] != got[0]


def test_shares_do_not_underflow() -> None:
    method = get_method("go4align[step_size=1]")
    for _ in range(3):
        got = weights(method, losses=[1000.0, 1.0])
    assert np.isfinite(got).all() and got[1] == pytest.approx(500.5)


@pytest.mark.parametrize("spec", ["go4align[groups=0]", "go4align[step_size=-1]"])
def test_parameters_out_of_range(spec: str) -> None:
    with pytest.raises(UsageError, match="method go4align: parameter"):
        get_method(spec)
