"""The logarithm of the summed loss: values by hand, the derivative of its objective, and what it is a control for."""

from __future__ import annotations

import numpy as np
import pytest
from families import COUNTS, LOSSES, jacobian, spread_losses
from oracles import gradient

from mtlbench import aggregate, get_method, weights


def test_first_weights_by_hand() -> None:
    """The losses add up to 10.5."""
    assert weights("log-sum", losses=LOSSES) == pytest.approx([2 / 21, 2 / 21, 2 / 21], rel=1e-12)


@pytest.mark.parametrize("tasks", COUNTS)
@pytest.mark.parametrize("seed", range(3))
def test_first_step_is_the_derivative_of_the_objective(seed: int, tasks: int) -> None:
    losses = spread_losses(seed, tasks)
    wanted = gradient(lambda losses: losses.sum().log(), losses)
    assert weights("log-sum", losses=losses) == pytest.approx(wanted, rel=1e-10)


def test_it_has_the_direction_of_the_sum_and_only_the_common_unit_of_the_losses_cancels() -> None:
    rows = jacobian(1, 3, 9)
    found, plain = aggregate("log-sum", rows, losses=LOSSES), aggregate("sum", rows)
    assert found == pytest.approx(plain / LOSSES.sum(), rel=1e-12)
    assert aggregate("log-sum", 100 * rows, losses=100 * LOSSES) == pytest.approx(found, rel=1e-12)
    assert not np.allclose(aggregate("log-sum", np.diag([100, 1, 1]) @ rows, losses=[50, 2, 8]), found)


def test_it_is_si_where_all_losses_are_equal_up_to_a_constant() -> None:
    """With nothing to balance, SI has this step rule: the reason for this control."""
    losses = np.full(4, 0.3)
    assert weights("si", losses=losses) == pytest.approx(4 * weights("log-sum", losses=losses), rel=1e-12)


def test_the_name_is_of_the_method_not_of_the_wrapper_around_the_sum() -> None:
    assert type(get_method("log-sum")).__name__ == "LogSum"
