"""Gains of made maps: a known effect is found, and where there is none the false discovery rate is held."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from made_maps import RATES, MadeTrainer, half_of_them, known_effect, made_columns, made_study, no_effect
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests

from mtlbench import UsageError
from mtlbench.map.cells import Array, Column, Setting
from mtlbench.map.comparators import Comparator
from mtlbench.map.endpoints import ENDPOINTS, Endpoint, evaluate
from mtlbench.map.gains import Gain, paired
from mtlbench.map.result import MapResult
from mtlbench.map.scores import Scores
from mtlbench.stats import paired_comparison

BALANCED, UNEQUAL = Setting(), Setting(loss_ratio=30.0)
RESULT = MapResult({"made": made_study([BALANCED, UNEQUAL], 8, MadeTrainer(known_effect), made_columns())})


def _gain(method: str, setting: Setting, comparator: str = "sum", endpoint: Endpoint = "mean-log") -> Gain:
    found = [g for g in RESULT.gains("made", comparator, endpoint) if (g.method, g.setting) == (method, setting)]
    assert len(found) == 1
    return found[0]


def test_a_known_effect_is_found_with_its_size() -> None:
    """Unequal losses cost the sum ln(30) / 4 = .85, which normalisation saves; without them nothing differs."""
    gain = _gain("unit-gradients", UNEQUAL)
    assert gain.separable and gain.low < -85.0 < gain.high and gain.p < 1e-6
    assert (gain.seeds, gain.trials, gain.comparator_trials) == (8, 3, 3)
    assert not _gain("unit-gradients", BALANCED).separable
    assert not _gain("pcgrad", UNEQUAL).separable


def test_a_gain_over_fixed_weights_shrinks_with_their_budget() -> None:
    means = [_gain("unit-gradients", UNEQUAL, f"fixed[trials={trials}]").mean for trials in (3, 4, 6, 9)]
    assert means == sorted(means) and means[0] == pytest.approx(_gain("unit-gradients", UNEQUAL).mean)
    best = _gain("unit-gradients", UNEQUAL, "fixed[trials=all]")
    assert best.comparator_trials == 21 and best.mean > means[2]


def test_both_sides_record_their_trials() -> None:
    assert _gain("pcgrad", UNEQUAL, "step-rules").comparator_trials == 9
    assert _gain("pcgrad", UNEQUAL, "single-task").comparator_trials == 6  # three learning rates for each of two tasks
    assert _gain("pcgrad", UNEQUAL, "fixed[search=random]").comparator_trials == 3


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("comparator", ["sum", "step-rules", "fixed[trials=all]", "single-task", "unit-gradients"])
def test_the_tests_are_those_of_scipy_and_their_family_is_that_of_statsmodels(
    endpoint: Endpoint, comparator: str
) -> None:
    """The endpoints are computed by plain loops here."""
    gains = RESULT.gains("made", comparator, endpoint)
    cells = {cell.setting: cell for cell in RESULT.study("made").cells}
    for gain in gains:
        cell = cells[gain.setting]
        ours, theirs = (_by_loop(cell, spec, endpoint) for spec in (gain.method, comparator))
        if np.array_equal(ours, theirs):  # equal weights are the best of the pool: nothing to test
            assert (gain.mean, gain.low, gain.high, gain.p) == (0.0, 0.0, 0.0, 1.0)
            continue
        test = scipy_stats.ttest_rel(ours, theirs)
        interval = test.confidence_interval(0.95)
        assert gain.mean == pytest.approx(100.0 * (ours - theirs).mean(), abs=1e-9)
        assert (gain.low, gain.high) == pytest.approx((100.0 * interval.low, 100.0 * interval.high), abs=1e-8)
        assert gain.p == pytest.approx(test.pvalue)
    rejected, adjusted, _, _ = multipletests([gain.p for gain in gains], 0.05, "fdr_bh")
    assert [gain.adjusted for gain in gains] == pytest.approx(list(adjusted))
    assert [gain.separable for gain in gains] == list(rejected)


def _by_loop(cell: Scores, spec: str, endpoint: Endpoint) -> Array:
    """Return one side of a comparison, seed by seed."""
    values = []
    single = np.array([[_alone(cell, n, task) for task in (0, 1)] for n in range(len(cell.seeds))])
    for n, stl in enumerate(single):
        tried = [q for q, column in enumerate(cell.columns) if _is_trial(column, spec)]
        best = min(tried, key=lambda q: np.log(cell.dev[n, q]).mean(), default=None)
        first, second = stl if best is None else cell.test[n, best]
        shares = (np.array([first, second]) - stl) / single.mean(axis=0)
        by_endpoint = {
            "mean-log": (np.log(first) + np.log(second)) / 2,
            "log-mean": np.log((first + second) / 2),
            "worst": np.log(max(first, second)),
            "delta-m": shares.mean(),
        }
        values.append(by_endpoint[endpoint])
    return np.array(values)


def _is_trial(column: Column, spec: str) -> bool:
    if column.single is not None or spec == "single-task":
        return False
    if spec == "fixed[trials=all]":
        return column.method == "sum" and column.step_rule == "plain"
    if column.weights is not None:
        return False
    if spec == "step-rules":
        return column.method == "sum"
    rule = {"sum": "plain", "unit-step-sum": "unit", "log-sum": "log"}.get(spec)
    return column.method == spec if rule is None else (column.method, column.step_rule) == ("sum", rule)


def _alone(cell: Scores, n: int, task: int) -> float:
    columns = [q for q, column in enumerate(cell.columns) if column.single == task]
    return float(cell.test[n, min(columns, key=lambda q: cell.dev[n, q, task]), task])


def test_without_effects_false_discoveries_are_held() -> None:
    """Of 200 maps without any effect, at most 5 % may have a separable cell; 200 times .05 is 10, and 17 is 2.3 SD."""
    settings = [Setting(loss_ratio=ratio) for ratio in (1.0, 10.0, 100.0)]
    columns = made_columns(pool=False)[: len(RATES) * 6]
    maps = [made_study(settings, 6, MadeTrainer(no_effect, number=number), columns) for number in range(200)]
    false = [any(gain.separable for gain in MapResult({"made": made}).gains("made")) for made in maps]
    assert sum(false) <= 17
    uncorrected = [any(gain.p <= 0.05 for gain in MapResult({"made": made}).gains("made")) for made in maps]
    assert sum(uncorrected) > 40  # without the correction, most maps would claim something


def test_among_many_effects_at_most_a_twentieth_of_the_discoveries_is_false() -> None:
    """Half of the methods have an effect of one standard deviation; the rate of false ones is over 40 made maps."""
    settings = [Setting(loss_ratio=ratio) for ratio in (1.0, 3.0, 10.0, 30.0)]
    columns = made_columns(pool=False)[: len(RATES) * 6]
    rates = []
    for number in range(40):
        made = made_study(settings, 8, MadeTrainer(half_of_them, number=number), columns)
        found = [gain for gain in MapResult({"made": made}).gains("made") if gain.separable]
        rates.append(sum(gain.method not in ("unit-gradients", "nash-mtl") for gain in found) / max(1, len(found)))
    assert np.mean(rates) <= 0.06


def test_an_untrained_side_is_an_error_in_one_line() -> None:
    without = MapResult({"made": made_study([BALANCED], 4, MadeTrainer(), made_columns(pool=False)[:9])})
    for comparator, endpoint, message in (
        ("fixed[trials=8]", "mean-log", "no fixed weights with the step rule plain"),
        ("single-task", "mean-log", "trains no single tasks"),
        ("sum", "delta-m", "needs single tasks"),
        ("pcgrd", "mean-log", "did you mean pcgrad?"),
        ("sum", "worst-task", "unknown endpoint"),
        ("fixed[trials=none]", "mean-log", "positive number, same or all"),
        ("fixed[search=grid]", "mean-log", "coordinate, random"),
        ("fixed[budget=4]", "mean-log", "no parameter budget"),
    ):
        with pytest.raises(UsageError, match=message) as raised:
            without.gains("made", comparator, endpoint)  # type: ignore[arg-type]
        assert "\n" not in str(raised.value)
    with pytest.raises(UsageError, match="unknown study"):
        without.gains("mode")


def test_few_seeds_claim_nothing() -> None:
    made = MapResult({"made": made_study([UNEQUAL], 3, MadeTrainer(noise=0.001), made_columns())})
    gains = made.gains("made")
    assert min(gain.adjusted for gain in gains) < 0.01
    assert not any(gain.separable for gain in gains)


@pytest.mark.parametrize("n", [1, 2, 5, 20])
def test_a_pair_of_series_is_compared_as_everywhere_else(n: int) -> None:
    ours, theirs = np.random.default_rng(n).normal(size=(2, n))
    expected = paired_comparison(ours, theirs)
    mean, low, high, p = paired(ours, theirs)
    assert mean == expected.mean_difference
    if n == 1:
        assert (low, high, p) == (mean, mean, 1.0)
    else:
        assert (low, high, p) == (expected.ci_low, expected.ci_high, expected.p)


def test_series_without_spread_have_the_exact_tests_p() -> None:
    ours = np.arange(6.0)
    assert paired(ours, ours) == (0.0, 0.0, 0.0, 1.0)
    assert paired(ours, ours - 1.0) == (1.0, 1.0, 1.0, 2.0 / 64.0)


def test_a_curve_of_budgets_begins_at_one_trial_and_ends_at_the_pools_best() -> None:
    curve = RESULT.budget_curve("made", UNEQUAL, search="random")
    assert [gain.trials for gain in curve] == list(range(1, 22))
    assert all(later.mean < earlier.mean for earlier, later in pairwise(curve))
    assert curve[-1].mean == pytest.approx(RESULT.gains("made", candidates=["fixed[trials=all]"])[1].mean)


def test_comparators_are_those_that_were_trained() -> None:
    specs = [comparator.spec for comparator in RESULT.study("made").comparators]
    assert specs[0] == "sum" and {"step-rules", "fixed[trials=all]", "single-task", "unit-gradients"} <= set(specs)
    assert not any("rule=" in spec for spec in specs)
    assert [Comparator.read(spec).spec for spec in specs] == specs
    assert len({Comparator.read(spec).label for spec in specs}) == len(specs)


def test_the_endpoint_of_several_columns_is_that_of_each() -> None:
    random = np.random.default_rng(0)
    errors, single = random.uniform(0.1, 1.0, size=(5, 7, 3)), random.uniform(0.1, 1.0, size=(5, 3))
    for endpoint in ENDPOINTS:
        together = evaluate(errors, endpoint, single)
        assert together.shape == (5, 7)
        assert together[:, 2] == pytest.approx(evaluate(errors[:, 2], endpoint, single))
