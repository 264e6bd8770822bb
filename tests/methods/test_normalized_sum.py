"""The sum of the gradients' directions: vectors, and which methods share its direction and which its length."""

from __future__ import annotations

import numpy as np
import pytest
from assertions import angle, distance, lengths
from families import SIZES, jacobian

from mtlbench import aggregate, get_method, weights


@pytest.mark.parametrize("tasks", SIZES)
@pytest.mark.parametrize("spread", [0.0, 3.0])
def test_it_is_the_sum_of_the_directions_times_the_mean_length(tasks: int, spread: float) -> None:
    rows = jacobian(6, tasks, 20, spread)
    wanted = np.mean(lengths(rows)) * sum(row / np.linalg.norm(row) for row in rows)
    assert distance(aggregate("normalized-sum", rows), wanted) < 1e-12


def test_weights_by_hand() -> None:
    assert weights("normalized-sum", np.diag([1.0, 9.0])) == pytest.approx([2.0, 2 / 3], rel=1e-12)
    assert weights("normalized-sum", np.diag([1.0, 0.0, 9.0])) == pytest.approx([2.0, 0.0, 2 / 3], rel=1e-12)
    assert weights("normalized-sum", np.zeros((2, 2))).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("peer", ["imtl-g", "nash-mtl", "metabalance[relax=1,beta=0]"])
def test_two_tasks_have_this_direction_under_methods_that_balance_lengths(peer: str) -> None:
    """Hence surgery is not the reason where these beat the sum on two tasks; their lengths differ."""
    for seed in range(5):
        rows = jacobian(seed, 2, 9, spread=2.0)
        found, other = aggregate("normalized-sum", rows), aggregate(get_method(peer), rows)
        assert angle(found, other) < 1e-6 and distance(found, other) > 0.01


def test_more_tasks_have_another_direction_under_imtl_g_unless_all_cosines_are_equal() -> None:
    rows = jacobian(7, 4, 9, spread=1.0)
    assert angle(aggregate("normalized-sum", rows), aggregate("imtl-g", rows)) > 0.1
    orthogonal = np.diag([1.0, 5.0, 0.2])
    assert angle(aggregate("normalized-sum", orthogonal), aggregate("imtl-g", orthogonal)) < 1e-9
