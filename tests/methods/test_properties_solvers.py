"""Solvers that fail, and weights that are wrong: both are noticed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from assertions import lengths
from families import PUBLISHED, SOLVED, jacobian

from mtlbench import Matrix, SolverError, Vector, aggregate, get_method
from mtlbench.contract.method_input import observe


def shifted(found: Vector, rows: Matrix) -> Vector:
    """Return the weights with 1 % of the shortest gradient's weight added to that of the longest, by length."""
    norms = lengths(rows)
    changed = found.copy()
    changed[norms.argmax()] += 0.01 * (np.abs(found) @ norms) / norms.max()
    changed[norms.argmin()] *= 0.99
    return changed


@pytest.mark.parametrize("name", [name for name in SOLVED if name != "upgrad"])
def test_the_residual_shows_weights_that_are_off_by_a_percent(name: str) -> None:
    for seed in range(5):
        rows = jacobian(seed, 4, 3, 1.0)
        method = get_method(name)
        observation = observe(method, gram=rows @ rows.T)
        found = method.weights(observation)
        right, wrong = method.residual(observation, found), method.residual(observation, shifted(found, rows))
        assert right is not None and wrong is not None
        assert right <= 1e-8 and wrong > 1e-5, (seed, right, wrong)


def give_up(*_: object, **__: object) -> None:
    raise RuntimeError("Maximum number of iterations reached.")


def wrong(matrix: Matrix, *_: object, **__: object) -> tuple[Vector, float]:
    return np.full(matrix.shape[1], 0.7), 0.0


@pytest.mark.parametrize("name", ["mgda", "mgda-ub", "cagrad", "upgrad", "dualproj", "pcd"])
@pytest.mark.parametrize("broken", [give_up, wrong])
def test_no_start_value_is_returned_when_active_sets_fail(
    name: str, broken: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scipy.optimize.nnls", broken)
    with pytest.raises(SolverError) as caught:
        aggregate(name, PUBLISHED)
    message = str(caught.value)
    assert message.startswith(f"{name}: ") and "[[" in message and "\n" not in message


@pytest.mark.parametrize("name", ["nash-mtl", "fairgrad"])
def test_no_start_value_is_returned_when_newton_steps_run_out(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtlbench.solvers.balance.NEWTON_STEPS", 1)
    with pytest.raises(SolverError, match=rf"^{name}: optimality violated by .*cosines \[\["):
        aggregate(name, jacobian(0, 5, 9))
