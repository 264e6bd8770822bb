"""The sum with an update of length 1: its length on vectors, cancelling gradients, and what it is a control for."""

from __future__ import annotations

import numpy as np
import pytest
from assertions import distance
from families import SIZES, jacobian

from mtlbench import aggregate, get_method, weights


@pytest.mark.parametrize("tasks", SIZES)
@pytest.mark.parametrize("spread", [0.0, 5.0])
def test_the_update_is_the_unit_vector_along_the_sum(tasks: int, spread: float) -> None:
    rows = jacobian(3, tasks, 20, spread)
    total = rows.sum(axis=0)
    assert distance(aggregate("unit-step-sum", rows), total / np.linalg.norm(total)) < 1e-7


def test_weights_by_hand() -> None:
    assert weights("unit-step-sum", np.diag([9.0, 16.0])) == pytest.approx([0.2, 0.2], rel=1e-12)
    assert weights("unit-step-sum", np.diag([9.0, 0.0])) == pytest.approx([1 / 3, 1 / 3], rel=1e-12)


@pytest.mark.parametrize("scale", [1e-140, 1e-10, 1.0, 1e15, 1e140])
def test_the_length_is_1_in_any_unit(scale: float) -> None:
    rows = scale * jacobian(4, 5, 12)
    assert np.linalg.norm(aggregate("unit-step-sum", rows)) == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize(
    "rows",
    [
        np.zeros((3, 4)),
        np.array([[0.1, 0.7], [-0.1, -0.7]]),
        jacobian(5, 2, 30)[[0, 1, 0, 1]] * np.array([[1.0, 1.0, -1.0, -1.0]]).T,
    ],
    ids=["zero", "opposed", "two pairs"],
)
def test_gradients_that_cancel_give_no_direction(rows: np.ndarray) -> None:
    """Else rounding, scaled to length 1, would be a step."""
    assert weights("unit-step-sum", rows @ rows.T).tolist() == [0.0] * len(rows)


def test_it_is_what_clipping_makes_of_nash_mtl_where_nothing_is_to_be_balanced() -> None:
    """Orthogonal gradients of one length: Nash-MTL's update, of length √K, is clipped to 1."""
    rows = 0.3 * np.eye(4)
    nash, limit = aggregate("nash-mtl", rows), get_method("nash-mtl").clip_norm
    assert np.linalg.norm(nash) == pytest.approx(2.0, rel=1e-6) and limit == 1.0
    assert limit * nash / np.linalg.norm(nash) == pytest.approx(aggregate("unit-step-sum", rows), rel=1e-6)
