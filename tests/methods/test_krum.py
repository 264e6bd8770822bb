"""Krum: the scores of the paper on vectors, TorchJD, and ties."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
from families import jacobian
from torchjd import aggregation as torchjd

from mtlbench import Matrix, UsageError, Vector, aggregate, weights


def krum_scores(rows: Matrix, byzantine: int) -> Vector:
    """Section 4 of Blanchard et al. 2017, on vectors."""
    scores = []
    for i, row in enumerate(rows):
        squares = sorted(float(np.sum((row - other) ** 2)) for j, other in enumerate(rows) if j != i)
        scores.append(sum(squares[: len(rows) - byzantine - 2]))
    return np.array(scores)


@pytest.mark.parametrize(("byzantine", "selected"), [(0, 1), (1, 1), (1, 3), (2, 2)])
@pytest.mark.parametrize("seed", range(5))
def test_krum_averages_the_gradients_of_least_score(seed: int, byzantine: int, selected: int) -> None:
    rows = jacobian(seed, 7, 10, spread=0.2)
    best = np.argsort(krum_scores(rows, byzantine))[:selected]
    found = aggregate("krum", rows, byzantine=byzantine, selected=selected)
    assert found == pytest.approx(rows[best].mean(axis=0), rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_krum_of_one_neighbour_shares_between_the_nearest_pair_of_which_torchjd_takes_one(seed: int) -> None:
    rows = jacobian(seed, 4, 6)
    found = weights("krum", rows @ rows.T)
    theirs = torchjd.KrumWeighting(1)(cast(Any, torch.from_numpy(rows @ rows.T))).numpy()
    assert sorted(found) == [0.0, 0.0, 0.5, 0.5] and found[np.argmax(theirs)] == 0.5


def test_krum_shares_between_ties_and_leaves_the_outlier_out() -> None:
    """Three equal gradients and one far away: each of the three has two others at distance 0."""
    rows = np.array([[1.0, 0.1], [1.0, 0.1], [1.0, 0.1], [-50.0, 3.0]])
    assert weights("krum", rows @ rows.T) == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0.0])
    assert weights("krum[selected=2]", rows @ rows.T) == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0.0])


@pytest.mark.parametrize(("spec", "tasks", "least"), [("krum", 3, 4), ("krum[byzantine=0,selected=5]", 4, 5)])
def test_too_few_tasks_are_refused(spec: str, tasks: int, least: int) -> None:
    with pytest.raises(UsageError, match=f"needs at least {least} tasks, got {tasks}"):
        aggregate(spec, jacobian(0, tasks, 5))
