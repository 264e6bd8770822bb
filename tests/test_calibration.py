"""A small version of benchmarks/calibration.py: the tests that the report chooses keep what they promise."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent / "report"))
from factory import grid

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


@pytest.fixture
def real_aa(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(PATH.parents[1]))
    return importlib.import_module("benchmarks.real_aa")


def test_cells_are_dealt_out_to_disjoint_comparisons(real_aa: ModuleType) -> None:
    records = grid({"sum": 0.0, "twin-a": 0.0, "twin-b": 0.0}, 23)
    for deal, count, each in ((real_aa.same_seeds, 4, 10), (real_aa.other_seeds, 2, 10)):
        deals = list(deal(records, 5, np.random.default_rng(0)))
        assert [len(compared) for compared in deals] == [each] * count
        keys = [record["key"] for compared in deals for record in compared]
        assert len(keys) == len(set(keys))
        assert {record["method"]["spec"] for compared in deals for record in compared} == {"a", "b"}


def test_a_difference_between_cells_is_found_and_none_is_made_up(real_aa: ModuleType) -> None:
    records = grid({"sum": 0.0, "twin-a": 0.0, "twin-b": 0.0}, 40)
    alike = real_aa.rates(records, partitions=2)
    assert [rate for rate in alike if rate.rate > rate.band[1]] == []
    page = real_aa.page(alike, records, 2, 1.0)
    assert page.count("\n| ") == len(alike) + 2 and "nan" not in page
    apart = real_aa.rates(grid({"sum": 0.0, "twin-a": 0.0, "twin-b": 0.1}, 40), partitions=1)
    assert {rate.rate for rate in apart if rate.setting.startswith("twins")} == {1.0}
