"""The projection onto the simplex: its optimality conditions, and values by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mtlbench.solvers.simplex import project


@pytest.mark.parametrize("tasks", [1, 2, 3, 8, 40])
@pytest.mark.parametrize("scale", [1e-8, 0.3, 1.0, 50.0, 1e30])
def test_projection_meets_its_optimality_conditions(tasks: int, scale: float) -> None:
    """p is nearest to v exactly if v − p is the same number θ wherever p > 0, and at most θ elsewhere."""
    for seed in range(50):
        values = scale * np.random.default_rng([seed, tasks]).normal(size=tasks)
        found = project(values)
        assert found.min() >= 0.0 and found.sum() == pytest.approx(1.0, abs=1e-12)
        gaps = values - found
        threshold = gaps[found > 0.0]
        assert np.ptp(threshold) <= 1e-12 * max(1.0, scale)
        assert (gaps <= threshold.max() + 1e-12 * max(1.0, scale)).all()


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([0.2, 0.3, 0.5], [0.2, 0.3, 0.5]),
        ([5.0], [1.0]),
        ([1e30, 1e30, -1e30], [0.5, 0.5, 0.0]),
        ([1e30, 0.0, 1e15], [1.0, 0.0, 0.0]),
        ([-1e60, -1e60], [0.5, 0.5]),
        ([1.0, 0.5, -3.0], [0.75, 0.25, 0.0]),
    ],
)
def test_projection_by_hand(values: list[float], wanted: list[float]) -> None:
    assert project(np.array(values)) == pytest.approx(wanted, abs=1e-15)
