"""PCGrad: values by hand, TorchJD, algorithm 1 of the paper on vectors, and every order of three tasks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from assertions import close, longest
from families import PUBLISHED, checked, drawn, every_family, examples, jacobian, pairs
from oracles import peer
from torchjd import aggregation as torchjd

from mtlbench import Matrix, Vector, aggregate, get_method, seeds, weights
from mtlbench.check.families import Family, normal


def test_published_value() -> None:
    assert aggregate("pcgrad", PUBLISHED, losses=[1.0, 1.0]) == pytest.approx([0.5848, 3.8012, 3.8012], abs=1e-4)


def test_pcgrad_by_hand() -> None:
    """⟨g₁, g₂⟩ = −22, ‖g₁‖² = 18, ‖g₂‖² = 38: g₁ + 22/38 g₂ + g₂ + 22/18 g₁."""
    wanted = (1 + 22 / 18) * PUBLISHED[0] + (1 + 22 / 38) * PUBLISHED[1]
    assert aggregate("pcgrad", PUBLISHED) == pytest.approx(wanted, rel=1e-14)


@pytest.mark.parametrize("seed", range(20))
def test_pcgrad_of_two_tasks_is_that_of_torchjd(seed: int) -> None:
    """With one other task there is one order, so the random numbers do not matter."""
    rows = jacobian(seed, 2, 4, spread=1.0)
    assert aggregate("pcgrad", rows) == pytest.approx(peer(torchjd.PCGrad(), rows), rel=1e-10)


def surgery(rows: Matrix, orders: Sequence[Sequence[int]]) -> Vector:
    """Algorithm 1 of Yu et al. 2020, line by line, task i taking the others in ``orders[i]``."""
    projected = [row.copy() for row in rows]
    for i, order in enumerate(orders):
        for j in order:
            if i == j:
                continue
            inner = float(np.dot(projected[i], rows[j]))
            if inner < 0:
                projected[i] = projected[i] - inner / float(np.dot(rows[j], rows[j])) * rows[j]
    return np.asarray(sum(projected))


@pytest.mark.parametrize("tasks", [3, 4, 8])
@pytest.mark.parametrize("seed", range(5))
def test_pcgrad_is_algorithm_1_with_the_same_orders(tasks: int, seed: int) -> None:
    method, random = get_method("pcgrad", seed=seed), seeds.generator(seed, "method", "pcgrad")
    for step in range(3):
        rows = jacobian(seed + 100 * step, tasks, 3, spread=1.0)
        orders = [random.permutation(tasks).tolist() for _ in range(tasks)]
        assert aggregate(method, rows) == pytest.approx(surgery(rows, orders), rel=1e-9, abs=1e-9)


def test_pcgrad_of_three_tasks_reaches_every_order_and_nothing_else() -> None:
    rows = np.array([[1.0, 0.2], [-0.8, 1.0], [-0.9, -1.1]])
    possible = [surgery(rows, orders) for orders in itertools.product(itertools.permutations(range(3)), repeat=3)]
    distinct = np.unique(np.round(possible, 9), axis=0)
    method = get_method("pcgrad", seed=1)
    updates = np.unique(np.round([aggregate(method, rows) for _ in range(600)], 9), axis=0)
    assert len(distinct) == 8  # two orders of the other tasks for each of three, all different here
    assert updates == pytest.approx(distinct, abs=1e-8)


@every_family
@checked
@pairs
def test_pcgrad_of_two_tasks_does_not_depend_on_their_order(family: Family, seed: int, size: int) -> None:
    rows = drawn(family, seed, 2, size)
    assert close(aggregate("pcgrad", rows[::-1]), aggregate("pcgrad", rows), longest(rows), 1e-6)


def test_another_seed_gives_other_orders() -> None:
    rows = drawn(normal, 0, 6, 3)
    assert len({aggregate("pcgrad", rows, seed=seed).tobytes() for seed in range(8)}) > 1


class Scripted:
    """A generator that returns scripted permutations, and counts them."""

    def __init__(self, orders: tuple[tuple[int, ...], ...]) -> None:
        self.orders, self.count = orders, 0

    def permutation(self, tasks: int) -> list[int]:
        self.count += 1
        order = list(self.orders[self.count - 1])
        assert sorted(order) == list(range(tasks))
        return order


def scripted(rows: Matrix, orders: tuple[tuple[int, ...], ...]) -> Vector:
    method: Any = get_method("pcgrad")
    method.generator = Scripted(orders)
    found = aggregate(method, rows)
    assert method.generator.count == len(rows)  # one order for every task: the trap is one order for all
    return found


ORDERS = list(itertools.product(itertools.permutations(range(3)), repeat=3))
CONFLICT = np.array([[1.0, 0.2, 0.1], [-0.8, 1.0, 0.3], [-0.9, -1.1, 0.6]])


@every_family
@checked
@pairs
def test_pcgrad_of_two_tasks_leaves_no_conflict(family: Family, seed: int, size: int) -> None:
    """At K = 2, g₁ᴾᶜ = g₁ + (w₂ − 1) g₂ and g₂ᴾᶜ = g₂ + (w₁ − 1) g₁."""
    rows = drawn(family, seed, 2, size)
    first, second = weights("pcgrad", rows @ rows.T)
    projected = np.stack([rows[0] + (second - 1) * rows[1], rows[1] + (first - 1) * rows[0]])
    assert (projected @ rows.T).min() >= -1e-12 * longest(rows) * max(longest(rows), longest(projected))


@checked
@examples
def test_pcgrad_without_conflict_is_the_sum(seed: int, tasks: int, size: int) -> None:
    rows = np.abs(drawn(normal, seed, tasks, size))  # non-negative entries: non-negative inner products
    assert weights("pcgrad", rows @ rows.T).tolist() == [1.0] * tasks


def test_pcgrad_projects_against_the_original_gradients() -> None:
    """Task 3 comes last: against the already projected g₁ and g₂ the result would be another."""
    orders = ((0, 1, 2),) * 3
    original, sequential = [row.copy() for row in CONFLICT], [row.copy() for row in CONFLICT]
    for i, j in itertools.product(range(3), repeat=2):
        for projected, against in ((original, CONFLICT[j]), (sequential, sequential[j])):
            inner = float(projected[i] @ against)
            if i != j and inner < 0:
                projected[i] = projected[i] - inner / (against @ against) * against
    found = scripted(CONFLICT, orders)
    assert found == pytest.approx(sum(original), rel=1e-12)
    assert np.linalg.norm(found - sum(sequential)) > 0.1


def test_pcgrad_takes_a_fresh_order_for_every_task() -> None:
    """Each task's own order decides: changing one task's order alone changes the update."""
    base = scripted(CONFLICT, ((0, 1, 2), (0, 1, 2), (0, 1, 2)))
    for changed in (
        ((0, 2, 1), (0, 1, 2), (0, 1, 2)),
        ((0, 1, 2), (2, 1, 0), (0, 1, 2)),
        ((0, 1, 2), (0, 1, 2), (1, 0, 2)),
    ):
        assert np.linalg.norm(scripted(CONFLICT, changed) - base) > 1e-3


def test_pcgrad_is_permutation_equivariant_in_distribution() -> None:
    """Over all 6³ orders, each as likely, the updates are the same multiset for permuted tasks."""
    wanted = sorted(np.round(scripted(CONFLICT, orders), 9).tolist() for orders in ORDERS)
    found = sorted(np.round(scripted(CONFLICT[[2, 0, 1]], orders), 9).tolist() for orders in ORDERS)
    assert np.array(found) == pytest.approx(np.array(wanted), abs=1e-8)


def test_pcgrad_does_not_project_a_gradient_off_itself() -> None:
    """Projections can turn gᵢᴾᶜ against gᵢ itself: here from 0° to 70°, off g₂, and to 140°, off g₃.

    With j = i not skipped, the order (2, 3, 1) would remove that too.
    """
    angles = np.deg2rad([0.0, 160.0, 230.0])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    turned = rows[0] - rows[0] @ rows[1] * rows[1]
    turned = turned - turned @ rows[2] * rows[2]
    assert turned @ rows[0] < -0.05
    skipped, last = scripted(rows, ((0, 1, 2),) * 3), scripted(rows, ((1, 2, 0), (0, 1, 2), (0, 1, 2)))
    assert last == pytest.approx(skipped, rel=1e-12)
