"""DWA: windows by hand, and TorchJD."""

from __future__ import annotations

import math

import numpy as np
import pytest
from families import LOSSES, series
from oracles import gradient
from torchjd import scalarization as torchjd

from mtlbench import UsageError, get_method, weights


@pytest.mark.parametrize(("spec", "wanted"), [("dwa", [1, 1, 1])])
def test_first_weights_by_hand(spec: str, wanted: list[float]) -> None:
    assert weights(spec, losses=LOSSES) == pytest.approx(wanted, rel=1e-7)


def test_dwa_by_hand() -> None:
    """Windows of two steps; the third has r = L(2)/L(1), the fourth r = L(3)/L(2)."""
    method = get_method("dwa", window=2)
    rows = np.array([[1, 8], [3, 4], [2, 3], [2, 3], [9, 9], [1, 1], [7, 7]], dtype=np.float64)
    got = [weights(method, losses=row) for row in rows]
    assert np.array_equal(got[:4], np.ones((4, 2)))
    for index, rates in {4: (1, 0.5), 5: (1, 0.5), 6: (2.5, 5 / 3)}.items():
        shares = np.array([math.exp(rate / 2) for rate in rates])
        assert got[index] == pytest.approx(2 * shares / shares.sum(), rel=1e-14)


@pytest.mark.parametrize(("window", "temperature"), [(1, 2.0), (4, 0.3), (25, 2.0)])
def test_dwa_against_torchjd(window: int, temperature: float) -> None:
    scalarizer, method = torchjd.DWA(temperature), get_method("dwa", window=window, temperature=temperature)
    for count, row in enumerate(series(4 * window + 1), start=1):
        got = weights(method, losses=row)
        assert got == pytest.approx(gradient(scalarizer, row), rel=1e-12)
        assert got.sum() == pytest.approx(3, rel=1e-14)
        if count % window == 0:
            scalarizer.step()


def test_dwa_takes_the_ratio_to_a_mean_of_zero() -> None:
    method = get_method("dwa", window=1)
    for losses in ([1.0, 0.0], [1.0, 0.5]):
        weights(method, losses=losses)
    assert weights(method, losses=[1.0, 0.5]) == pytest.approx([0.0, 2.0], abs=1e-12)


def test_dwa_needs_mean_losses_that_are_not_negative() -> None:
    method = get_method("dwa", window=2)
    weights(method, losses=[1.0, 0.0])
    with pytest.raises(UsageError, match=r"method dwa .*2 steps.*\[1\.5, -0\.5\]"):
        weights(method, losses=[2.0, -1.0])


@pytest.mark.parametrize("spec", ["dwa[window=0]", "dwa[temperature=0]"])
def test_parameters_out_of_range(spec: str) -> None:
    with pytest.raises(UsageError, match=rf"method {spec.split('[')[0]}: parameter"):
        get_method(spec)
