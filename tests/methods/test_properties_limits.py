"""Properties at the limits: singular matrices, both precisions, extreme and invalid losses, and solvers that fail."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from assertions import answer, residual, step
from families import (
    BLIND,
    CLOSED,
    CROSS,
    EXACT,
    GRAM_METHODS,
    LOGS,
    LOSS_METHODS,
    OTHERS,
    UPDATES,
    jacobian,
    losses_of,
    series,
    singular,
)

from mtlbench import UsageError, aggregate, get_method, weights
from mtlbench.contract.method_input import observe
from mtlbench.contract.observation import FLOOR


@pytest.mark.parametrize("name", GRAM_METHODS)
@pytest.mark.parametrize("exponent", [-10, 0, 15])
def test_singular_matrices_have_finite_weights_and_meet_the_conditions(name: str, exponent: int) -> None:
    for rows in singular(1):
        method = get_method(name)
        observation = observe(method, gram=(rows * 10.0**exponent) @ (rows * 10.0**exponent).T)
        found = method.weights(observation)
        assert np.isfinite(found).all()
        violation = method.residual(observation, found)
        assert (violation is None) == (name in CLOSED)
        assert violation is None or violation <= 1e-8


@pytest.mark.parametrize("name", GRAM_METHODS)
def test_products_of_single_precision_are_accepted(name: str) -> None:
    """Their Gram matrices have eigenvalues of −10⁻⁷ where there should be zeros."""
    negative = 0.0
    for seed in range(10):
        for rows in singular(seed):
            single = rows.astype(np.float32)
            gram = np.asarray(single @ single.T, dtype=np.float64)
            negative = min(negative, float(np.linalg.eigvalsh(gram).min()))
            method = get_method(name)
            observation = observe(method, gram=gram)
            found = method.weights(observation)
            assert np.isfinite(found).all()
            assert (method.residual(observation, found) or 0.0) <= 1e-8
    assert negative < -1e-7


@pytest.mark.parametrize("name", GRAM_METHODS)
def test_mixed_norms_are_accepted(name: str) -> None:
    for seed in range(30):
        for spread in (5.0, 10.0):
            rows = jacobian(seed, 2 + seed % 9, 12, spread)
            method = get_method(name)
            assert (residual(method, rows) or 0.0) <= 1e-8
            assert np.isfinite(aggregate(method, rows)).all()


STOPPED = ("mgda", "mgda-ub", "cagrad", "edm", "imgrad")
"""Methods that look for the hull's point nearest to the origin: a gradient of zero is that point."""


@pytest.mark.parametrize("name", [name for name in GRAM_METHODS if name not in STOPPED])
def test_a_gradient_of_zero_is_left_out(name: str) -> None:
    rows = jacobian(12, 3, 8)
    padded = np.vstack([rows, np.zeros((1, 8))])
    found, wanted = weights(name, padded @ padded.T), weights(name, rows @ rows.T)
    if name == "gradvac":
        wanted = found[:3]  # another order is drawn for four tasks; nothing else can be said
        assert found[3] == 1.0
    elif name in ("upgrad", "dualproj"):  # averages over the tasks
        assert found[:3] == pytest.approx(wanted * 3 / 4, rel=1e-9) and found[3] == 0.0
    else:
        assert found == pytest.approx([*wanted, 0.0], rel=1e-7)


@pytest.mark.parametrize("spec", [*UPDATES, *CROSS, *OTHERS])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("exponents", [(-10, -10), (0, 0), (15, 15), (-10, 15)])
def test_finite_in_both_precisions(spec: str, dtype: torch.dtype, exponents: tuple[int, int]) -> None:
    factors = np.logspace(*exponents, 6)[:, None]
    families = {
        "normal": jacobian(15, 6, 40),
        "zero rows": np.vstack([np.zeros((2, 40)), jacobian(16, 4, 40)]),
        "all zero": np.zeros((6, 40)),
        "equal": np.tile(jacobian(17, 1, 40), (6, 1)),
        "opposite": np.tile(jacobian(18, 1, 40), (6, 1)) * np.array([[1, -1, 1, -1, 1, -1]]).T,
    }
    for family, rows in families.items():
        method = get_method(spec)
        for number in range(3):
            scaled = torch.from_numpy(factors * rows).to(dtype)
            wide = scaled.double().numpy()
            found = answer(method, scaled, losses_of(number, 6), wide @ wide.T)
            assert np.isfinite(found).all(), family
            assert found.dtype == (np.float32 if dtype == torch.float32 and method.returns == "update" else np.float64)


@pytest.mark.parametrize("spec", BLIND)
def test_blind_methods_need_no_losses(spec: str) -> None:
    assert weights(spec, np.eye(4)).shape == (4,)


@pytest.mark.parametrize("spec", LOSS_METHODS)
def test_finite_for_losses_far_apart(spec: str) -> None:
    method = get_method(spec)
    for losses in ([1e-12, 1.0, 1e12], [1e-300, 1e-300, 1e-300], [1e15, 1e15, 1e-15]):
        for _ in range(30):
            got = step(method, np.array(losses))
            assert np.isfinite(got).all() and (got >= 0.0).all()


@pytest.mark.parametrize("spec", LOSS_METHODS)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_losses_that_are_not_finite(spec: str, bad: float) -> None:
    with pytest.raises(UsageError, match=rf"{get_method(spec).name}.*{bad}"):
        weights(spec, losses=[1.0, bad])


@pytest.mark.parametrize("spec", LOGS)
def test_negative_losses_have_no_logarithm(spec: str) -> None:
    with pytest.raises(UsageError, match=rf"{spec}.*-0\.25"):
        weights(spec, losses=[1.0, -0.25])


@pytest.mark.parametrize("spec", LOGS)
@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_a_loss_of_zero_counts_as_the_floor(spec: str, zero: float) -> None:
    wanted = weights(spec, losses=[1.0, FLOOR])
    if spec == "famo":  # whose own formula adds the floor to every loss
        wanted = np.array([1 / (1 + FLOOR), 1 / FLOOR]) / (1 / (1 + FLOOR) + 1 / FLOOR)
    assert weights(spec, losses=[1.0, zero]) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize(
    "spec",
    [*EXACT, "dwa[window=1]", "dwa[window=3]", "stch[warmup=2]", "famo[minimum=-0.5]", "uw[form=classification]"],
)
@pytest.mark.parametrize("zeros", [[2], [0, 1, 2]])
@pytest.mark.parametrize("first", [0, 1, 4])
def test_losses_of_zero_from_any_step_on(spec: str, zeros: list[int], first: int) -> None:
    losses = series(12)
    losses[first:, zeros] = 0.0
    method = get_method(spec)
    for row in losses:
        assert np.isfinite(step(method, row, row * 0.9)).all()


@pytest.mark.parametrize("spec", sorted({*LOSS_METHODS} - {*BLIND}))
def test_losses_are_missing(spec: str) -> None:
    with pytest.raises(UsageError, match=rf"method {spec} reads the losses: give losses"):
        weights(spec, np.eye(2))
