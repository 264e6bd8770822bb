"""SI: values by hand, and the derivative of its objective."""

from __future__ import annotations

import pytest
from families import COUNTS, LOSSES, spread_losses
from oracles import gradient

from mtlbench import weights


@pytest.mark.parametrize(("spec", "wanted"), [("si", [2, 0.5, 0.125])])
def test_first_weights_by_hand(spec: str, wanted: list[float]) -> None:
    assert weights(spec, losses=LOSSES) == pytest.approx(wanted, rel=1e-7)


@pytest.mark.parametrize("tasks", COUNTS)
@pytest.mark.parametrize("seed", range(3))
def test_first_step_is_the_derivative_of_the_objective(seed: int, tasks: int) -> None:
    losses = spread_losses(seed, tasks)
    assert weights("si", losses=losses) == pytest.approx(gradient(lambda losses: losses.log().sum(), losses), rel=1e-10)


def test_positive_losses_below_the_floor_count_as_they_are() -> None:
    assert weights("si", losses=[1.0, 1e-12]).tolist() == [1.0, 1e12]
