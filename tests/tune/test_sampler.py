"""Samplers: quasi-random points that fill the space, the same for all methods; and Optuna where it is missing."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from tune_searches import space

from mtlbench.errors import UsageError
from mtlbench.tune.sampler import halton, load_optuna


def test_all_methods_get_the_same_first_coordinate() -> None:
    for number in range(9):
        assert halton(number, 1, seed=3) == halton(number, 5, seed=3)[:1]
    assert halton(4, 2, seed=3) != halton(4, 2, seed=4)


def test_quasi_random_points_fill_every_eighth_of_every_coordinate() -> None:
    points = np.array([halton(number, 4, seed=0) for number in range(16)])
    assert ((points >= 0.0) & (points < 1.0)).all()
    for column in points.T:
        counts = np.histogram((column - points[0, 0]) % 1.0, bins=8, range=(0, 1))[0]
        assert counts.max() <= 3 and len(np.unique(np.round(column, 9))) == 16


@pytest.mark.parametrize("trials", [4, 6, 8, 16])
def test_weightings_of_few_trials_differ(trials: int) -> None:
    """A Sobol sequence fails here: of its first points, several have the same ratios."""
    weights = space("fixed", "w", "0.2:5:log:tasks")
    for seed in range(40):
        tried = [weights.at(halton(number, 4, seed)[1:]) for number in range(1, trials)]
        logs = np.log([[float(one) for one in text.split(":")] for text in tried])
        far = np.linalg.norm(logs[:, None] - logs[None], axis=-1) + np.eye(len(tried)) * 9.0
        assert far.min(axis=1).mean() > 0.3


def test_without_optuna_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UsageError, match=r"needs Optuna: pip install 'mtlbench\[tune\]', or --sampler halton"):
        load_optuna()
