"""FAMO: the paper's algorithm on torch tensors, TorchJD, and values by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from assertions import step
from families import LOSSES, series
from oracles import gradient
from torchjd import scalarization as torchjd

from mtlbench import UsageError, get_method, weights
from mtlbench.contract.observation import FLOOR


@pytest.mark.parametrize(("spec", "wanted"), [("famo", [16 / 21, 4 / 21, 1 / 21])])
def test_first_weights_by_hand(spec: str, wanted: list[float]) -> None:
    """In proportion to 1/L, and of sum 1; up to 10⁻⁷, as FAMO adds 10⁻⁸ to the losses."""
    assert weights(spec, losses=LOSSES) == pytest.approx(wanted, rel=1e-7)


def test_famo_lower_bound_by_hand() -> None:
    """1/(L + 1) = 2/3, 1/3, 1/9, of sum 10/9."""
    assert weights("famo[minimum=-1]", losses=LOSSES) == pytest.approx([0.6, 0.3, 0.1], rel=1e-7)


@pytest.mark.parametrize("gamma", [0.0, 0.001, 0.5])
@pytest.mark.parametrize("minimum", [0.0, -2.0, 0.01])
def test_famo_step_by_step(gamma: float, minimum: float) -> None:
    """The paper's algorithm on torch tensors: autograd through the softmax, torch's Adam with weight decay."""
    before, after = series(20), series(20, seed=1)
    method = get_method("famo", gamma=gamma, minimum=minimum)
    logits = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.025, weight_decay=gamma)
    for row, later in zip(before, after, strict=True):
        z = torch.softmax(logits, 0)
        factor = 1 / (z / (torch.tensor(row) - minimum + 1e-8)).sum()

        def objective(leaf: torch.Tensor, share: torch.Tensor = (factor * z).detach()) -> torch.Tensor:
            return (share * torch.log(leaf - minimum + 1e-8)).sum()

        got = step(method, row, later)
        assert got == pytest.approx(gradient(objective, row), rel=1e-10)
        assert got.sum() == pytest.approx(1, rel=1e-12)
        gain = torch.tensor(np.log(row - minimum + 1e-8) - np.log(later - minimum + 1e-8))
        optimizer.zero_grad()
        (z @ gain).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def test_famo_against_torchjd() -> None:
    before, after = series(20, seed=2), series(20, seed=3)
    method, scalarizer = get_method("famo"), torchjd.FAMO(3).double()
    for row, later in zip(before, after, strict=True):
        assert step(method, row, later) == pytest.approx(gradient(scalarizer, row), rel=1e-10)
        scalarizer.update(torch.tensor(later))


def test_famo_gives_weight_to_the_task_that_improves_least() -> None:
    method = get_method("famo")
    for _ in range(5):
        got = step(method, np.ones(3), np.array([1.0, 0.9, 0.8]))
    assert got[0] > got[1] > got[2]


@pytest.mark.parametrize(("max_norm", "clip"), [(1.0, 1.0), (0.3, 0.3), (0.0, None)])
def test_famo_clips(max_norm: float, clip: float | None) -> None:
    assert get_method("famo", max_norm=max_norm).clip_norm == clip


def test_famo_after_a_step_to_zero_by_hand() -> None:
    """δ = log(1 + 10⁻⁸) − log(10⁻⁸) = 18.4 for the task whose loss went to 0: the other one gains weight."""
    method = get_method("famo", gamma=0.0)
    weights(method, losses=[1.0, 1.0])
    method.after_step(np.array([0.0, 1.0]))
    delta = math.log1p(FLOOR) - math.log(FLOOR)
    slope = 0.5 * np.array([delta - delta / 2, -delta / 2])
    assert method.adam.mean == pytest.approx(0.1 * slope)
    assert method.logits == pytest.approx([-0.025, 0.025])  # Adam's first step


def test_famo_needs_after_step_once_after_every_step() -> None:
    method = get_method("famo")
    with pytest.raises(UsageError, match="method famo: after_step was called without a step before it"):
        method.after_step(LOSSES)
    weights(method, losses=LOSSES)
    with pytest.raises(UsageError, match=r"method famo: call method\.after_step\(losses\)"):
        weights(method, losses=LOSSES)
    method.after_step(LOSSES)
    with pytest.raises(UsageError, match="without a step before it"):
        method.after_step(LOSSES)


@pytest.mark.parametrize("after", [[1.0], [1.0, 1.0, math.nan], [1.0, 1.0, -0.5]])
def test_famo_after_step_refuses(after: list[float]) -> None:
    method = get_method("famo")
    weights(method, losses=LOSSES)
    with pytest.raises(UsageError, match=rf"method famo: after_step takes 3 finite losses .*{after[-1]}"):
        method.after_step(np.array(after))


def test_famo_loss_below_its_bound() -> None:
    with pytest.raises(
        UsageError, match=r"method famo: losses must be at least minimum=0\.6, got \[0\.5, 2\.0, 8\.0\]"
    ):
        weights("famo", losses=LOSSES, minimum=0.6)
    at_its_bound = weights("famo", losses=LOSSES, minimum=0.5)
    assert at_its_bound == pytest.approx(weights("famo", losses=LOSSES - 0.5), rel=1e-12)


def test_saved_between_step_and_after_step() -> None:
    first, resumed = get_method("famo"), get_method("famo")
    weights(first, losses=LOSSES)
    resumed.load_state_dict(first.state_dict())
    for method in (first, resumed):
        method.after_step(LOSSES / 2)
    assert np.array_equal(step(first, LOSSES), step(resumed, LOSSES))


@pytest.mark.parametrize("spec", ["famo[gamma=-1]", "famo[max_norm=-1]", "famo[minimum=nan]"])
def test_parameters_out_of_range(spec: str) -> None:
    with pytest.raises(UsageError, match=rf"method {spec.split('[')[0]}: parameter"):
        get_method(spec)
