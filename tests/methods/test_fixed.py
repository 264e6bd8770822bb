"""Fixed weights: values by hand, and what the user may write."""

from __future__ import annotations

import pytest
from families import COUNTS, LOSSES, spread_losses
from oracles import gradient

from mtlbench import UsageError, get_method, weights


@pytest.mark.parametrize(
    ("spec", "wanted"), [("fixed", [1, 1, 1]), ("fixed[w=0.25]", [0.25, 0.25, 0.25]), ("fixed[w=2:1:0.5]", [2, 1, 0.5])]
)
def test_first_weights_by_hand(spec: str, wanted: list[float]) -> None:
    assert weights(spec, losses=LOSSES) == pytest.approx(wanted, rel=1e-7)


@pytest.mark.parametrize("tasks", COUNTS)
@pytest.mark.parametrize("seed", range(3))
def test_first_step_is_the_derivative_of_the_objective(seed: int, tasks: int) -> None:
    losses = spread_losses(seed, tasks)
    assert weights("fixed[w=3]", losses=losses) == pytest.approx(
        gradient(lambda losses: 3 * losses.sum(), losses), rel=1e-10
    )


@pytest.mark.parametrize("w", ["", "2:", "a", "1:0", "-1", "inf", "nan:1", "1e999", "1;2"])
def test_fixed_weights_that_are_no_positive_numbers(w: str) -> None:
    with pytest.raises(UsageError, match=r"method fixed: parameter w=.* should be positive numbers"):
        get_method("fixed", w=w)


def test_fixed_weights_of_another_number_of_tasks() -> None:
    with pytest.raises(UsageError, match="method fixed: w=2:1 has 2 numbers for 3 tasks"):
        weights("fixed[w=2:1]", losses=LOSSES)


def test_fixed_spec_reads_back() -> None:
    method = get_method("fixed[w=2:1:0.50]")
    assert method.spec == "fixed[w=2:1:0.50]" and get_method(method.spec) == method
