"""A small version of benchmarks/calibration.py: the tests that the report chooses keep what they promise."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from mtlbench import stats

PATH = Path(__file__).resolve().parents[1] / "benchmarks" / "calibration.py"
SPEC = importlib.util.spec_from_file_location("calibration", PATH)
assert SPEC is not None and SPEC.loader is not None
calibration = importlib.util.module_from_spec(SPEC)
sys.modules["calibration"] = calibration  # where its dataclass looks for its annotations
SPEC.loader.exec_module(calibration)


@pytest.fixture(scope="module")
def rates() -> list[calibration.Rate]:  # type: ignore[name-defined]
    return calibration.simulate(trials=400, seed=1)


def test_rates_whose_assumptions_hold_lie_in_their_band(rates: list[calibration.Rate]) -> None:  # type: ignore[name-defined]
    assert [rate for rate in rates if rate.assumed and not rate.kept] == []


def test_bounds_are_not_exceeded(rates: list[calibration.Rate]) -> None:  # type: ignore[name-defined]
    bounds = [rate for rate in rates if rate.what in ("Friedman", "Welch t", "equivalence", "Holm, any false claim")]
    assert len(bounds) > 10
    assert [rate for rate in bounds if rate.rate > rate.band[1]] == []


def test_the_vectorised_t_is_the_one_of_the_report() -> None:
    d = np.random.default_rng(0).normal(size=(4, 5))
    assert calibration.t_p(d) == pytest.approx([stats.paired_comparison(row, np.zeros(5)).p for row in d])


def test_the_page_has_a_line_for_every_rate(rates: list[calibration.Rate]) -> None:  # type: ignore[name-defined]
    page = calibration.page(rates)
    assert page.count("\n| ") == len(rates) + 2
    assert "nan" not in page
