"""Gains as readers see them: signs, rounding, counts, and the words around them."""

from __future__ import annotations

import pytest
from page_maps import World, made_map

from mtlbench.map.cells import Setting
from mtlbench.map.gains import Gain
from mtlbench.map.tally import (
    Comparisons,
    Shown,
    Tally,
    candidates,
    count_of,
    default_comparator,
    joined,
    ordered,
    phrase,
    points,
)


def gain(mean: float, *, separable: bool = True, half: float = 2.0) -> Shown:
    ends = (mean - half, mean + half)
    return Shown(Gain("uw", "sum", Setting(), "mean-log", mean, *ends, 0.01, separable, 5, 4, 4))


def test_positive_is_better_and_the_interval_turns_with_it() -> None:
    better = gain(-30.4)
    assert (better.mean, better.ends, better.text) == (30.4, (28.4, 32.4), "+30 [+28, +32]")
    assert better.won and not better.lost
    assert gain(30.4).lost and not gain(30.4).won
    assert not gain(-30.4, separable=False).won
    assert gain(-3.0, half=0.0).text == "+3"


@pytest.mark.parametrize(
    ("value", "text"), [(2.5, "+3"), (-2.5, "−3"), (0.44, "0"), (-0.44, "0"), (0.46, "+1"), (1e3, "+1000")]
)
def test_points_round_half_away_from_zero_after_tenths(value: float, text: str) -> None:
    assert points(value) == text


def test_a_tally_counts_what_is_separable() -> None:
    tally = Tally.of([gain(-40.0), gain(-10.0, separable=False), gain(20.0)])
    assert (tally.score, tally.cells, tally.median, tally.least, tally.most) == ("1/1", 3, 10.0, -20.0, 40.0)


def test_comparisons_are_those_of_the_map_and_computed_once() -> None:
    result = made_map(World(seeds=4), studies=["loss-noise"])
    comparisons = Comparisons(result)
    gains = comparisons.gains("loss-noise", "fixed[trials=8]", "worst")
    assert gains is not None and [shown.gain for shown in gains] == result.gains(
        "loss-noise", "fixed[trials=8]", "worst"
    )
    assert comparisons.gains("loss-noise", "fixed[trials=8]", "worst") is gains
    assert len(comparisons.of("loss-noise", "sum", "uw")) == 15
    assert comparisons.gains("loss-noise", "unheard-of") is None


def test_a_study_is_found_by_its_knobs() -> None:
    comparisons = Comparisons(made_map(World(seeds=2), name="full"))
    names = [
        study.name if (study := comparisons.over(*knobs)) else None
        for knobs in (("loss_ratio", "noise_ratio"), ("steps",), ("tasks",), ("width", "relatedness"), ("speed_ratio",))
    ]
    assert names == ["loss-noise", "steps", "trials", "width-relatedness", None]
    assert comparisons.headline is not None and comparisons.headline.name == "loss-noise"
    assert Comparisons(made_map(World(seeds=2), studies=["trials"])).headline is None  # it turns more than these two


def test_controls_come_last_and_are_no_candidates() -> None:
    result = made_map(World(seeds=4))
    study = result.studies["loss-noise"]
    assert ordered(study)[-4:] == ("unit-gradients", "log-sum", "unit-step-sum", "sum")
    assert candidates(study) == ordered(study)[:-4]
    comparisons = Comparisons(result)
    assert default_comparator(study, comparisons) == "step-rules"
    assert default_comparator(result.studies["three-conditions"], comparisons) == "sum"
    assert default_comparator(result.studies["rows-relatedness"], comparisons) == "single-task"


def test_words() -> None:
    assert phrase("fixed[trials=all,rule=log]") == "the best of all fixed weights on the logarithm of the loss"
    assert phrase("fixed[trials=8]") == "fixed weights tuned by coordinate search with 8 trials"
    assert (phrase("sum"), phrase("single-task")) == ("the equal sum", "single tasks")
    assert (count_of(0, 3), count_of(1, 3), count_of(2, 3)) == (
        "none of 3 methods is",
        "1 of 3 methods is",
        "2 of 3 methods are",
    )
    assert (joined(["a"]), joined(["a", "b", "c"])) == ("a", "a, b and c")
