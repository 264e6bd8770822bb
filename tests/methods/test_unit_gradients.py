"""Unit gradients: published values, lengths by hand, and their identity with ConFIG."""

from __future__ import annotations

import numpy as np
import pytest
from families import PUBLISHED, jacobian

from mtlbench import UsageError, aggregate, get_method, weights


@pytest.mark.parametrize(
    ("length", "wanted"),
    [
        ("sum", (0.105723, 1.378448, 1.378448)),
        ("one", (0.030519, 0.397924, 0.397924)),
        ("mean", (0.158809, 2.070607, 2.070607)),
    ],
)
def test_update_of_the_published_conflict(length: str, wanted: tuple[float, ...]) -> None:
    got = weights("unit-gradients", PUBLISHED @ PUBLISHED.T, length=length) @ PUBLISHED
    assert got == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("length", ["one", "mean", "max", "sum"])
@pytest.mark.parametrize("seed", range(4))
def test_the_update_by_hand(seed: int, length: str) -> None:
    rows = jacobian(seed, 5, 9, spread=2.0)
    norms = np.linalg.norm(rows, axis=1)
    factor = {"one": 1.0, "mean": norms.mean(), "max": norms.max(), "sum": np.linalg.norm(rows.sum(axis=0))}[length]
    wanted = factor * (rows / norms[:, None]).sum(axis=0)
    got = weights("unit-gradients", rows @ rows.T, length=length) @ rows
    assert got == pytest.approx(wanted, rel=1e-9, abs=1e-9 * float(np.linalg.norm(wanted)))


@pytest.mark.parametrize("seed", range(5))
def test_the_mean_of_two_tasks_is_config(seed: int) -> None:
    gram = (rows := jacobian(seed, 2, 6, spread=1.0)) @ rows.T
    assert weights("unit-gradients", gram) == pytest.approx(weights("config", gram), rel=1e-9)


def test_avgnorm_squares_the_number_of_equal_gradients() -> None:
    assert weights("unit-gradients[length=sum]", np.ones((3, 3))) == pytest.approx([3.0, 3.0, 3.0])


def test_zero_gradients_get_no_weight() -> None:
    assert weights("unit-gradients", np.diag([0.0, 4.0])).tolist() == [0.0, 1.0]
    assert weights("unit-gradients", np.zeros((2, 2))).tolist() == [0.0, 0.0]
    assert np.array_equal(aggregate("unit-gradients", np.array([[0.0, 0.0], [3.0, 4.0]])), [3.0, 4.0])


def test_parameters_out_of_range() -> None:
    with pytest.raises(UsageError, match="method unit-gradients: parameter"):
        get_method("unit-gradients[length=min]")
