"""What a tuner chooses: development scores alone decide, and budgets agree with tuners that really draw."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from made_maps import RATES, MadeTrainer, known_effect, made_columns, made_study

from mtlbench.map.cells import Column, Setting
from mtlbench.map.scores import Scores
from mtlbench.map.selection import Pool, Search, best_of, best_rank, mean_log, method_of, sampled

CELL = made_study([Setting(loss_ratio=30.0)], 6, MadeTrainer(known_effect), made_columns()).cells[0]


def test_the_best_column_of_each_seed_is_chosen_by_its_development_scores() -> None:
    dev = np.array([[3.0, 1.0, 2.0, 0.0], [1.0, 2.0, 3.0, 0.0]])
    assert best_of(dev, [0, 1, 2]).tolist() == [[0, 1, 0, 0], [1, 0, 0, 0]]


def test_test_scores_do_not_change_a_choice() -> None:
    """Turned round, they leave every choice as it is."""
    turned = Scores(CELL.setting, CELL.columns, CELL.seeds, CELL.dev, 1.0 / CELL.test)
    assert np.array_equal(turned.criterion, CELL.criterion, equal_nan=True)
    chosen = CELL.pools["plain"].choose(CELL.criterion, 8, "coordinate")
    assert np.array_equal(turned.pools["plain"].choose(turned.criterion, 8, "coordinate"), chosen)


@pytest.mark.parametrize(("size", "draws"), [(5, 1), (5, 2), (5, 5), (1, 1), (56, 8)])
def test_the_best_of_draws_has_the_probabilities_of_drawing(size: int, draws: int) -> None:
    random = np.random.default_rng(size * 100 + draws)
    best = [random.choice(size, draws, replace=False).min() for _ in range(20_000)]
    counted = np.bincount(best, minlength=size) / len(best)
    assert best_rank(size, draws).sum() == pytest.approx(1.0)
    assert best_rank(size, draws) == pytest.approx(counted, abs=0.015)


@pytest.mark.parametrize("search", ["coordinate", "random"])
@pytest.mark.parametrize("trials", [2, 3, 5, 8])
def test_a_budget_is_the_mean_of_tuners_that_draw(search: Search, trials: int) -> None:
    """Thousands of tuners, written as a loop over their trials, against the exact expectation."""
    pool, ours = CELL.pools["plain"], mean_log(CELL.test)
    random = np.random.default_rng(trials)
    exact = (pool.choose(CELL.criterion, trials, search) * np.nan_to_num(ours)).sum(axis=1)
    for seed in (0, 3):
        drawn = [ours[seed, _tune(random, seed, trials, search)] for _ in range(3000)]
        assert exact[seed] == pytest.approx(np.mean(drawn), abs=4.0 * np.std(drawn) / np.sqrt(3000) + 1e-9)


def _tune(random: np.random.Generator, seed: int, trials: int, search: Search) -> int:
    """Return the column that one tuner of fixed weights ends with."""
    columns, dev = CELL.columns, CELL.criterion[seed]
    equal = [q for q, column in enumerate(columns) if method_of(column) == "sum"]
    weighted = [q for q, column in enumerate(columns) if column.weights]
    if search == "random":
        tried = random.choice([*equal, *weighted], trials, replace=False)
    elif trials <= len(equal):
        tried = random.choice(equal, trials, replace=False)
    else:
        rate = columns[min(equal, key=lambda q: dev[q])].lr
        there = [q for q in weighted if columns[q].lr == rate]
        tried = np.array([*equal, *random.choice(there, trials - len(equal), replace=False)])
    return int(min(tried, key=lambda q: dev[q]))


def test_a_budget_is_never_more_than_the_pool_has() -> None:
    pool = CELL.pools["plain"]
    assert len(pool.all) == 3 * 7
    assert pool.budget(1000, "random") == 21
    assert pool.budget(1000, "coordinate") == 3 + 6  # every rate at equal weights, then six weightings at the best
    everything = pool.choose(CELL.criterion, 21, "random")
    assert np.array_equal(everything, best_of(CELL.criterion, pool.all))


def test_a_pool_belongs_to_its_step_rule_and_needs_weights() -> None:
    assert list(CELL.pools) == ["plain"]
    unit = [Column("sum", rate, step_rule="unit") for rate in RATES]
    weighted = [Column("sum", rate, weights=(0.5, 1.5), step_rule="unit") for rate in RATES]
    assert Pool([*CELL.columns, *unit], "unit").all == []
    assert len(Pool([*unit, *weighted], "unit").all) == 6


def test_more_draws_never_make_the_criterion_worse() -> None:
    pool = list(range(CELL.criterion.shape[1]))[:12]
    dev = CELL.criterion[:, pool]
    expected = [(sampled(CELL.criterion, pool, draws)[:, pool] * dev).sum() for draws in range(1, 13)]
    assert all(later <= earlier + 1e-12 for earlier, later in pairwise(expected))


@pytest.mark.parametrize(
    ("column", "method"),
    [
        (Column("pcgrad", 0.1), "pcgrad"),
        (Column("sum", 0.1, step_rule="unit"), "unit-step-sum"),
        (Column("sum", 0.1, step_rule="log"), "log-sum"),
        (Column("sum", 0.1, weights=(1.0, 1.0)), None),
        (Column("sum", 0.1, single=1), None),
    ],
)
def test_a_column_is_a_trial_of_one_method(column: Column, method: str | None) -> None:
    assert method_of(column) == method
