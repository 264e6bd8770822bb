"""GradVac: TorchJD for two tasks, and algorithm 1 of the paper on vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from families import PUBLISHED, SIZES, jacobian
from oracles import peer
from torchjd import aggregation as torchjd

from mtlbench import Matrix, UsageError, Vector, aggregate, get_method, seeds


def test_published_value() -> None:
    """The first step is that of PCGrad."""
    assert aggregate("gradvac", PUBLISHED) == pytest.approx([0.5848, 3.8012, 3.8012], abs=1e-4)


@pytest.mark.parametrize("tasks", SIZES)
@pytest.mark.parametrize("seed", range(3))
def test_gradvac_of_two_tasks_is_torchjd_over_steps(seed: int, tasks: int) -> None:
    """With one other task there is one order, so the random numbers do not matter."""
    ours, theirs = get_method("gradvac", beta=0.5), torchjd.GradVac(beta=0.5, eps=0.0)
    for step in range(8):
        rows = jacobian(seed + 10 * step, 2, tasks)
        assert aggregate(ours, rows) == pytest.approx(peer(theirs, rows), rel=1e-9)


def vaccine(rows: Matrix, orders: Sequence[Sequence[int]], targets: Matrix, beta: float, always: bool) -> Vector:
    """One step; ``targets`` is changed."""
    changed = [row.copy() for row in rows]
    for i, order in enumerate(orders):
        for j in order:
            if i == j:
                continue
            norm, other = float(np.linalg.norm(changed[i])), float(np.linalg.norm(rows[j]))
            phi, target = float(changed[i] @ rows[j]) / (norm * other), float(targets[i, j])
            if phi < target:
                top = norm * (target * math.sqrt(1 - phi**2) - phi * math.sqrt(1 - target**2))
                changed[i] = changed[i] + top / (other * math.sqrt(1 - target**2)) * rows[j]
                now = float(changed[i] @ rows[j]) / (float(np.linalg.norm(changed[i])) * other)
                assert now == pytest.approx(target, abs=1e-9)
            if always or phi < target:
                targets[i, j] = (1 - beta) * target + beta * phi
    return np.asarray(sum(changed))


@pytest.mark.parametrize("average", ["always", "violation"])
@pytest.mark.parametrize("beta", [0.01, 0.5])
@pytest.mark.parametrize("tasks", [2, 3, 6])
def test_gradvac_is_algorithm_1_with_the_same_orders(tasks: int, beta: float, average: str) -> None:
    method = get_method("gradvac", seed=tasks, beta=beta, average=average)
    random, targets = seeds.generator(tasks, "method", "gradvac"), np.zeros((tasks, tasks))
    common = np.abs(jacobian(0, 1, 12))
    for step in range(12):
        rows = jacobian(step, tasks, 12) + common  # cosines of both signs, above 0 on average
        orders = [random.permutation(tasks).tolist() for _ in range(tasks)]
        wanted = vaccine(rows, orders, targets, beta, average == "always")
        assert aggregate(method, rows) == pytest.approx(wanted, rel=1e-8)
        assert method.targets == pytest.approx(targets, abs=1e-9)


def test_gradvac_survives_targets_of_one_and_gradients_that_cancel() -> None:
    method = get_method("gradvac", beta=1.0)
    one = np.array([[1.0, 2.0], [1.0, 2.0]])
    assert aggregate(method, one).tolist() == [2.0, 4.0]
    opposed = np.array([[1.0, 2.0], [1.0, -2.0]])
    found = aggregate(method, opposed)  # targets are 1 now: aimed at as 1 − 10⁻⁶
    assert np.isfinite(found).all() and np.linalg.norm(found) < 1e5
    assert aggregate("gradvac", np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]])).tolist() == [0.0, 0.0]


def test_parameters_out_of_range_are_refused() -> None:
    with pytest.raises(UsageError, match="should be"):
        get_method("gradvac[beta=2]")
