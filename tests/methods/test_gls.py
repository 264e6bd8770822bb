"""GLS: values by hand, the derivative of its objective, and TorchJD."""

from __future__ import annotations

import numpy as np
import pytest
from families import COUNTS, LOSSES, spread_losses
from oracles import gradient
from torchjd import scalarization as torchjd

from mtlbench import weights


@pytest.mark.parametrize(("spec", "wanted"), [("gls", [4 / 3, 1 / 3, 1 / 12])])
def test_first_weights_by_hand(spec: str, wanted: list[float]) -> None:
    """The geometric mean of the losses is 2."""
    assert weights(spec, losses=LOSSES) == pytest.approx(wanted, rel=1e-7)


@pytest.mark.parametrize("tasks", COUNTS)
@pytest.mark.parametrize("seed", range(3))
def test_first_step_is_the_derivative_of_the_objective(seed: int, tasks: int) -> None:
    losses = spread_losses(seed, tasks)
    assert weights("gls", losses=losses) == pytest.approx(
        gradient(lambda losses: losses.prod() ** (1 / len(losses)), losses), rel=1e-10
    )


@pytest.mark.parametrize("tasks", COUNTS)
@pytest.mark.parametrize("seed", range(3))
def test_gls_against_torchjd(seed: int, tasks: int) -> None:
    losses = spread_losses(seed, tasks)
    assert weights("gls", losses=losses) == pytest.approx(gradient(torchjd.GeometricMean(), losses), rel=1e-10)


def test_gls_does_not_underflow() -> None:
    """The product of 64 losses of 10⁻¹⁰ is 10⁻⁶⁴⁰."""
    assert weights("gls", losses=np.full(64, 1e-10)) == pytest.approx(1 / 64, rel=1e-12)
