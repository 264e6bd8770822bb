"""IMTL-L: its objective by torch's autograd and Adam, and TorchJD."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from assertions import assert_takes_zero_but_no_negative_loss
from families import COUNTS, LOSSES, series, spread_losses
from oracles import gradient, learn
from torchjd import scalarization as torchjd

from mtlbench import UsageError, Vector, get_method, weights


@pytest.mark.parametrize(("spec", "wanted"), [("imtl-l", [1, 1, 1])])
def test_first_weights_by_hand(spec: str, wanted: list[float]) -> None:
    assert weights(spec, losses=LOSSES) == pytest.approx(wanted, rel=1e-7)


@pytest.mark.parametrize("tasks", COUNTS)
@pytest.mark.parametrize("seed", range(3))
def test_first_step_is_the_derivative_of_the_objective(seed: int, tasks: int) -> None:
    losses = spread_losses(seed, tasks)
    assert weights("imtl-l", losses=losses) == pytest.approx(gradient(lambda losses: losses.sum(), losses), rel=1e-10)


@pytest.mark.parametrize("lr", [0.025, 0.4])
@pytest.mark.parametrize(
    ("spec", "objective"),
    [
        ("imtl-l", lambda losses, s: (losses * torch.exp(s) - s).sum()),
    ],
)
def test_learned_with_the_network(spec: str, objective: Any, lr: float) -> None:
    """20 steps beside torch's Adam."""
    losses = series(20)
    method = get_method(spec, lr=lr)
    for row, wanted in zip(losses, learn(objective, lr, losses), strict=True):
        assert weights(method, losses=row) == pytest.approx(wanted, rel=1e-10)


def test_learned_against_torchjd() -> None:
    losses, scalarizer, method = series(20, seed=1), torchjd.IMTLL(3).double(), get_method("imtl-l")
    optimizer = torch.optim.Adam(scalarizer.parameters(), lr=0.025)
    for row in losses:
        optimizer.zero_grad()
        assert weights(method, losses=row) == pytest.approx(gradient(scalarizer, row), rel=1e-10)
        optimizer.step()


@pytest.mark.parametrize(("spec", "limit"), [("imtl-l", 1 / LOSSES)])
def test_where_constant_losses_lead(spec: str, limit: Vector) -> None:
    method = get_method(spec)
    for _ in range(1500):
        got = weights(method, losses=LOSSES)
    assert got == pytest.approx(limit, rel=1e-3)


def test_takes_zero_but_no_negative_loss() -> None:
    assert_takes_zero_but_no_negative_loss("imtl-l")


@pytest.mark.parametrize("spec", ["imtl-l[lr=-1]"])
def test_parameters_out_of_range(spec: str) -> None:
    with pytest.raises(UsageError, match=rf"method {spec.split('[')[0]}: parameter"):
        get_method(spec)
