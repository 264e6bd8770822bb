"""M-ConFIG: the published operator on vectors, and equal cosines."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
from families import jacobian, jacobians
from torchjd import aggregation as torchjd

from mtlbench import Matrix, Vector, aggregate, get_method


class MomentumOperator:
    """Algorithm 1 of Liu et al. 2025 as it is published in code, for one task a step, on vectors.

    Every step of zero until all tasks have had a turn; from then on t counts.
    """

    def __init__(self, tasks: int, size: int) -> None:
        self.m, self.turns, self.t = np.zeros((tasks, size)), np.zeros(tasks), 0
        self.fake, self.s = np.zeros(size), np.zeros(size)

    def step(self, renewed: list[int], rows: Matrix) -> Vector:
        for i in renewed:
            self.turns[i] += 1
            self.m[i] = 0.9 * self.m[i] + 0.1 * rows[i]
        if (self.turns == 0).any():
            return np.zeros_like(self.s)
        self.t += 1
        hats = np.array([m / (1 - 0.9**turn) for m, turn in zip(self.m, self.turns, strict=True)])
        final = torchjd.ConFIG()(torch.from_numpy(hats)).numpy()
        fake = final * (1 - 0.9**self.t)
        gradient, self.fake = (fake - 0.9 * self.fake) / (1 - 0.9), fake
        self.s = 0.999 * self.s + 0.001 * gradient**2
        return np.asarray(final / (np.sqrt(self.s / (1 - 0.999**self.t)) + 1e-8))


@pytest.mark.parametrize("tasks", [1, 2, 5])
def test_config_m_is_the_published_operator_from_the_step_at_which_that_starts(tasks: int) -> None:
    published, method = MomentumOperator(tasks, 12), get_method("config-m")
    first, *later = jacobians(4, tasks, 12, spread=1.0)
    wanted = [published.step([task], first) for task in range(tasks)]
    assert not np.any(wanted[:-1]) and aggregate(method, first) == pytest.approx(wanted[-1], rel=1e-9)
    for step, rows in enumerate(later):
        assert aggregate(method, rows) == pytest.approx(published.step([step % tasks], rows), rel=1e-8)


def test_config_m_that_renews_all_is_the_published_operator_given_all() -> None:
    published, method = MomentumOperator(3, 12), get_method("config-m[refresh=all]")
    for rows in jacobians(5, 3, 12, spread=1.0):
        assert aggregate(method, rows) == pytest.approx(published.step([0, 1, 2], rows), rel=1e-8)


def test_config_m_direction_has_equal_cosines_and_leaves_zero_gradients_out() -> None:
    rows = jacobian(6, 4, 12, spread=1.0)
    rows[2] = 0.0
    method = get_method("config-m")
    aggregate(method, rows)
    direction = cast(Any, method).combined.numpy() / 0.1
    kept = rows[[0, 1, 3]]
    cosines = kept @ direction / np.linalg.norm(kept, axis=1)
    assert cosines == pytest.approx(np.full(3, cosines[0]), rel=1e-9)
    assert np.linalg.norm(direction) == pytest.approx(float(np.sum(kept @ direction) / np.linalg.norm(direction)))


def test_config_m_stays_where_gradients_are_opposite() -> None:
    row = jacobian(7, 1, 50)
    assert aggregate("config-m", np.vstack([row, -3.0 * row])).tolist() == [0.0] * 50
