"""UW-SO: values by hand, and torch's softmax."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from families import COUNTS, spread_losses

from mtlbench import UsageError, get_method, weights


def test_uw_so_by_hand() -> None:
    """1/L = 2, 1, 0 up to 10⁻⁹: the softmax of 2, 1, 0, or of 1, ½, 0 at T = 2."""
    losses = np.array([0.5, 1.0, 1e9])
    for temperature in (1.0, 2.0):
        shares = [math.exp(2 / temperature), math.exp(1 / temperature), 1.0]
        got = weights("uw-so", losses=losses, temperature=temperature)
        assert got == pytest.approx([share / sum(shares) for share in shares], rel=1e-8)


@pytest.mark.parametrize("tasks", COUNTS)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("temperature", [0.5, 20.0])
def test_uw_so(temperature: float, seed: int, tasks: int) -> None:
    losses = spread_losses(seed, tasks)
    wanted = torch.softmax(torch.tensor(1 / losses / temperature), 0).numpy()
    got = weights("uw-so", losses=losses, temperature=temperature)
    assert got == pytest.approx(wanted, rel=1e-9, abs=1e-300)


def test_parameters_out_of_range() -> None:
    with pytest.raises(UsageError, match="method uw-so: parameter"):
        get_method("uw-so[temperature=-1]")
