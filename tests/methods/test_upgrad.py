"""UPGrad: a published value, a conic solver, and PCGrad of two tasks."""

from __future__ import annotations

import numpy as np
import pytest
from assertions import assert_conflicts_with_no_task, lengths, residual
from families import PUBLISHED, jacobian
from oracles import projection

from mtlbench import aggregate, get_method


def test_published_value() -> None:
    assert aggregate("upgrad", PUBLISHED) == pytest.approx([0.2929, 1.9004, 1.9004], abs=1e-3)


@pytest.mark.parametrize("spread", [0.0, 3.0])
@pytest.mark.parametrize("tasks", [2, 4, 8])
def test_upgrad_is_the_mean_of_projections(tasks: int, spread: float) -> None:
    rows = jacobian(2, tasks, 5, spread)
    wanted = np.mean([projection(rows, row) for row in rows], axis=0)
    assert np.linalg.norm(aggregate("upgrad", rows) - wanted) < 1e-4 * lengths(rows).max()
    assert aggregate("upgrad[reduction=sum]", rows) == pytest.approx(tasks * aggregate("upgrad", rows), rel=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_upgrad_of_two_tasks_is_half_of_pcgrad(seed: int) -> None:
    rows = jacobian(seed, 2, 4, spread=1.0)
    assert aggregate("upgrad", rows) == pytest.approx(aggregate("pcgrad", rows) / 2, rel=1e-9)


def test_projections_conflict_with_no_task() -> None:
    assert_conflicts_with_no_task("upgrad")


def test_the_residual_of_upgrad_shows_a_conflict_and_a_share_that_is_too_small() -> None:
    method = get_method("upgrad")
    assert (residual(method, PUBLISHED, np.array([0.5, 0.5])) or 0.0) > 1e-2
    assert (residual(method, PUBLISHED, np.array([0.4, 5.0])) or 0.0) > 1e-2
