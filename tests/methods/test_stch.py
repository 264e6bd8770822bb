"""STCH: values by hand, and the derivatives of both its objectives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from families import COUNTS, LOSSES, spread_losses
from oracles import gradient

from mtlbench import UsageError, get_method, weights


@pytest.mark.parametrize(("spec", "wanted"), [("stch", [2, 0.5, 0.125])])
def test_first_weights_by_hand(spec: str, wanted: list[float]) -> None:
    assert weights(spec, losses=LOSSES) == pytest.approx(wanted, rel=1e-7)


@pytest.mark.parametrize("tasks", COUNTS)
@pytest.mark.parametrize("seed", range(3))
def test_first_step_is_the_derivative_of_the_objective(seed: int, tasks: int) -> None:
    losses = spread_losses(seed, tasks)
    assert weights("stch", losses=losses) == pytest.approx(
        gradient(lambda losses: losses.log().sum(), losses), rel=1e-10
    )


@pytest.mark.parametrize("tasks", COUNTS)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("mu", [0.1, 1.0, 3.0])
def test_stch_after_the_warmup(mu: float, seed: int, tasks: int) -> None:
    draw = np.random.default_rng([seed, tasks, 1])
    method, early = get_method("stch", mu=mu, warmup=10), draw.uniform(0.1, 9, (10, tasks))
    for losses in early:
        assert weights(method, losses=losses) == pytest.approx(1 / losses, rel=1e-14)
    nadir = torch.tensor(early[8:].mean(axis=0))  # the last fifth of ten
    losses = draw.uniform(0.1, 9, tasks)

    def objective(leaf: torch.Tensor) -> torch.Tensor:
        return tasks * mu * torch.logsumexp((leaf / nadir).log() / mu, 0)

    for _ in range(2):
        assert weights(method, losses=losses) == pytest.approx(gradient(objective, losses), rel=1e-10)


def test_positive_losses_below_the_floor_count_as_they_are() -> None:
    assert weights("stch", losses=[1.0, 1e-12]).tolist() == [1.0, 1e12]


@pytest.mark.parametrize("spec", ["stch[mu=0]", "stch[warmup=0]"])
def test_parameters_out_of_range(spec: str) -> None:
    with pytest.raises(UsageError, match=rf"method {spec.split('[')[0]}: parameter"):
        get_method(spec)
