"""What must hold for the methods on every matrix: seven families of matrices, from 10⁻¹⁰ to 10¹⁵.

Examples are seeds, not entries: a family's docstring proves what its matrices are, and hypothesis looks for the size
and the seed that break a claim.
"""

from __future__ import annotations

import itertools
import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtlbench import aggregate, get_method, weights
from mtlbench.check.families import (
    Family,
    duplicated,
    non_stationary,
    normal,
    rank_one,
    strongly_stationary,
    weakly_stationary,
    zero_rows,
)
from mtlbench.contract.method import Matrix, Observation, Vector

settings.register_profile("methods", deadline=None, derandomize=True, database=None, max_examples=8)
checked = settings(settings.get_profile("methods"))

STATELESS = ["sum", "pcgrad", "mgda", "cagrad"]
METHODS = [*STATELESS, "gradnorm"]
GRAM_NOISE = 1e-7
"""A Gram matrix of 16 digits knows a vector of length 0 only up to √10⁻¹⁶ of the lengths around it."""

FAMILIES: list[Family] = [
    normal,
    strongly_stationary,
    weakly_stationary,
    non_stationary,
    duplicated,
    zero_rows,
    rank_one,
]
every_family = pytest.mark.parametrize("family", FAMILIES)
every_stateless = pytest.mark.parametrize("name", STATELESS)
examples = given(seed=st.integers(0, 2**32), tasks=st.integers(1, 10), size=st.integers(2, 30))
pairs = given(seed=st.integers(0, 2**32), size=st.integers(2, 30))


def drawn(family: Family, seed: int, tasks: int, size: int) -> Matrix:
    return family(np.random.default_rng(seed), tasks, size)


def longest(rows: Matrix) -> float:
    return float(np.linalg.norm(rows, axis=1).max())


def close(got: Vector, wanted: Vector, scale: float, tolerance: float) -> bool:
    return bool(np.linalg.norm(got - wanted) <= tolerance * scale)


# All methods


@every_family
@pytest.mark.parametrize("name", METHODS)
@checked
@given(seed=st.integers(0, 2**32), tasks=st.integers(1, 10), size=st.integers(2, 30), exponent=st.integers(-10, 15))
def test_weights_are_finite(name: str, family: Family, seed: int, tasks: int, size: int, exponent: int) -> None:
    rows = drawn(family, seed, tasks, size) * 10.0**exponent
    method = get_method(name)
    for _ in range(2):
        found = aggregate(method, rows, losses=np.ones(tasks))
        assert np.isfinite(found).all()
        assert np.linalg.norm(found) <= 10 * tasks * longest(rows) * (1 + 1e-9) or name == "pcgrad"


@every_stateless
@checked
@given(seed=st.integers(0, 2**32), tasks=st.integers(2, 8), spread=st.floats(0, 10))
def test_weights_are_finite_when_norms_are_spread(name: str, seed: int, tasks: int, spread: float) -> None:
    rows = drawn(normal, seed, tasks, 12)
    rows *= 10.0 ** np.random.default_rng(seed).uniform(-spread, spread, (tasks, 1))
    assert np.isfinite(weights(name, rows @ rows.T)).all()


@pytest.mark.parametrize("name", ["mgda", "cagrad"])
def test_sixteen_tasks_with_spread_norms_are_solved(name: str) -> None:
    draw = np.random.default_rng(16)
    for _ in range(200):
        rows = draw.normal(size=(16, 4)) * 10.0 ** draw.uniform(-3, 3, (16, 1))
        assert np.isfinite(weights(name, rows @ rows.T)).all()


@pytest.mark.parametrize("c", [0.4, 0.9])
@pytest.mark.parametrize("tasks", [3, 4])
def test_cagrad_has_a_limit_at_weakly_stationary_points(tasks: int, c: float) -> None:
    for seed in range(200):
        rows = drawn(weakly_stationary, seed, tasks, 40)
        found, mean = aggregate("cagrad", rows, c=c), rows.mean(axis=0)
        assert np.linalg.norm(found - mean) <= c * np.linalg.norm(mean) + GRAM_NOISE * longest(rows)
        assert (rows @ found).min() >= (rows @ mean).min() - GRAM_NOISE * longest(rows) ** 2


@every_family
@every_stateless
@checked
@given(seed=st.integers(0, 2**32), tasks=st.integers(1, 8), exponent=st.integers(-10, 15), size=st.integers(2, 20))
def test_update_scales_with_the_gradients(
    name: str, family: Family, seed: int, tasks: int, exponent: int, size: int
) -> None:
    rows = drawn(family, seed, tasks, size)
    factor = 3.0 * 10.0**exponent
    wanted, found = aggregate(name, rows, seed=seed), aggregate(name, factor * rows, seed=seed) / factor
    unit = float(np.linalg.norm(wanted)) if family is non_stationary else longest(rows)
    assert close(found, wanted, unit, 1e-6)


@every_family
@pytest.mark.parametrize("name", ["sum", "mgda", "cagrad", "gradnorm"])
@checked
@examples
def test_update_does_not_depend_on_the_order_of_the_tasks(
    name: str, family: Family, seed: int, tasks: int, size: int
) -> None:
    rows = drawn(family, seed, tasks, size)
    order = np.random.default_rng(seed + 1).permutation(tasks)
    losses = np.random.default_rng(seed + 2).uniform(0.1, 3.0, (3, tasks))
    one, other = get_method(name), get_method(name)
    for values in losses:
        wanted, found = aggregate(one, rows, losses=values), aggregate(other, rows[order], losses=values[order])
        assert close(found, wanted, longest(rows), 1e-6)


@every_family
@checked
@pairs
def test_pcgrad_of_two_tasks_does_not_depend_on_their_order(family: Family, seed: int, size: int) -> None:
    rows = drawn(family, seed, 2, size)
    assert close(aggregate("pcgrad", rows[::-1]), aggregate("pcgrad", rows), longest(rows), 1e-6)


@pytest.mark.parametrize("name", METHODS)
@checked
@given(seed=st.integers(0, 2**32), size=st.integers(1, 30), exponent=st.integers(-10, 15))
def test_one_task_gets_its_own_direction(name: str, seed: int, size: int, exponent: int) -> None:
    rows = drawn(normal, seed, 1, size) * 10.0**exponent
    length = 1.4 if name == "cagrad" else 1.0  # CAGrad walks on to the edge of its ball, c ‖g‖ beyond the mean
    assert close(aggregate(name, rows, losses=[1.0]), length * rows[0], longest(rows), 1e-9)


def test_methods_differ_on_a_generic_conflict() -> None:
    rows = np.array([[1.0, 0.2, 0.1], [-0.8, 1.0, 0.3], [-0.9, 0.4, -2.0]])
    found = {}
    for name in METHODS:
        method = get_method(name)
        for losses in ([1.0, 1.0, 1.0], [1.0, 0.5, 0.2]):  # GradNorm's first step is the sum
            found[name] = aggregate(method, rows, losses=losses)
    found["cagrad of another radius"] = aggregate("cagrad[c=0.8]", rows)
    found["mgda of unit gradients"] = aggregate("mgda[normalize=l2]", rows)
    found["mgda of losses"] = aggregate("mgda[normalize=loss]", rows, losses=[1.0, 0.5, 0.2])
    for (one, first), (other, second) in itertools.combinations(found.items(), 2):
        apart = np.linalg.norm(first / np.linalg.norm(first) - second / np.linalg.norm(second))
        assert apart > 1e-3, f"{one} and {other} point the same way"


# Randomness and state


@pytest.mark.parametrize("name", METHODS)
def test_methods_leave_global_generators_alone(name: str) -> None:
    def states() -> tuple[Any, ...]:
        legacy = np.random.get_state()
        assert isinstance(legacy, tuple)
        return random.getstate(), legacy[1].tobytes(), legacy[2], torch.get_rng_state().numpy().tobytes()

    before = states()
    aggregate(name, drawn(normal, 0, 5, 9), losses=np.ones(5))
    assert states() == before


@pytest.mark.parametrize("name", METHODS)
def test_global_seeds_do_not_matter_and_the_methods_own_seed_decides(name: str) -> None:
    rows, found = drawn(normal, 0, 6, 3), []
    for global_seed in (1, 2):
        random.seed(global_seed)
        np.random.seed(global_seed)
        torch.manual_seed(global_seed)
        method = get_method(name, seed=5)
        found.append(np.array([aggregate(method, rows, losses=np.ones(6)) for _ in range(4)]))
    assert found[0].tobytes() == found[1].tobytes()


def test_another_seed_gives_other_orders() -> None:
    rows = drawn(normal, 0, 6, 3)
    assert len({aggregate("pcgrad", rows, seed=seed).tobytes() for seed in range(8)}) > 1


@pytest.mark.parametrize("name", METHODS)
def test_a_saved_state_replays_exactly(name: str) -> None:
    draw = np.random.default_rng(0)
    seen = []
    for _ in range(12):
        rows = drawn(normal, int(draw.integers(2**32)), 5, 3)
        seen.append(Observation(draw.uniform(0.1, 2.0, 5), rows @ rows.T))
    method = get_method(name, seed=3)
    for one in seen[:5]:
        method.weights(one)
    saved = method.state_dict()
    wanted = [method.weights(one).tobytes() for one in seen[5:]]  # must not reach into what was saved
    resumed = get_method(name, seed=99)
    resumed.weights(seen[0])
    resumed.load_state_dict(saved)
    assert [resumed.weights(one).tobytes() for one in seen[5:]] == wanted


@pytest.mark.parametrize("name", METHODS)
def test_a_caller_who_writes_on_the_weights_does_not_change_the_method(name: str) -> None:
    rows = drawn(normal, 4, 3, 8)
    seen = Observation(np.array([1.0, 2.0, 3.0]), rows @ rows.T)
    left, untouched = get_method(name), get_method(name)
    for _ in range(3):
        left.weights(seen)[:] = -7.0
        untouched.weights(seen)
    assert left.weights(seen).tolist() == untouched.weights(seen).tolist()
    assert seen.gram is not None and seen.gram.tolist() == (rows @ rows.T).tolist()


# MGDA


@every_family
@checked
@examples
def test_mgda_meets_the_optimality_conditions(family: Family, seed: int, tasks: int, size: int) -> None:
    """w of the simplex is optimal exactly if ⟨gᵢ, d⟩ ≥ ‖d‖² for all i, with equality where wᵢ > 0."""
    rows = drawn(family, seed, tasks, size)
    found = weights("mgda", rows @ rows.T)
    update = found @ rows
    slack = rows @ update - update @ update
    assert found.min() >= 0.0 and found.sum() == pytest.approx(1.0, rel=1e-12)
    assert slack.min() >= -1e-8 * longest(rows) ** 2
    assert np.abs(found * slack).max() <= 1e-8 * longest(rows) ** 2


@pytest.mark.parametrize("family", [strongly_stationary, weakly_stationary, zero_rows])
@checked
@examples
def test_mgda_is_zero_at_stationary_points(family: Family, seed: int, tasks: int, size: int) -> None:
    rows = drawn(family, seed, tasks, size)
    assert np.linalg.norm(aggregate("mgda", rows)) <= GRAM_NOISE * longest(rows)


@checked
@examples
def test_mgda_improves_every_task_elsewhere(seed: int, tasks: int, size: int) -> None:
    rows = drawn(non_stationary, seed, tasks, size)
    assert (rows @ aggregate("mgda", rows)).min() > 0.0


# CAGrad


@every_family
@pytest.mark.parametrize("c", [0.05, 0.4, 0.9])
@checked
@examples
def test_cagrad_stays_in_its_ball_and_closes_the_gap(
    c: float, family: Family, seed: int, tasks: int, size: int
) -> None:
    """The value minᵢ ⟨gᵢ, d⟩ equals the dual's Σ wᵢ⟨gᵢ, d⟩ at the optimum; d − g₀ = λᵀJ with λ a multiple of w."""
    rows = drawn(family, seed, tasks, size)
    found, mean = weights("cagrad", rows @ rows.T, c=c), rows.mean(axis=0)
    update, dual, unit = found @ rows, found - 1.0 / tasks, longest(rows)
    radius = c * float(np.linalg.norm(mean))
    assert np.linalg.norm(update - mean) <= radius * (1 + 1e-8) + 1e-12 * unit
    assert dual.min() >= -1e-12
    along = rows @ update
    assert along.min() >= (rows @ mean).min() - 1e-8 * unit**2
    if dual.sum() > 0.0:
        assert dual @ along / dual.sum() - along.min() <= 1e-7 * unit**2


@checked
@examples
def test_cagrad_reaches_the_edge_of_its_ball_where_it_can_improve_all(seed: int, tasks: int, size: int) -> None:
    rows = drawn(non_stationary, seed, tasks, size)
    mean = rows.mean(axis=0)
    found = aggregate("cagrad", rows)
    assert np.linalg.norm(found - mean) == pytest.approx(0.4 * np.linalg.norm(mean), rel=1e-8)


@every_family
@checked
@examples
def test_cagrad_of_radius_zero_is_the_mean(family: Family, seed: int, tasks: int, size: int) -> None:
    rows = drawn(family, seed, tasks, size)
    assert close(aggregate("cagrad", rows, c=0.0), rows.mean(axis=0), longest(rows), 1e-14)


# PCGrad and its traps


class Scripted:
    """Stands in for the method's generator: gives permutations in a known order and counts them."""

    def __init__(self, orders: tuple[tuple[int, ...], ...]) -> None:
        self.orders, self.given = orders, 0

    def permutation(self, tasks: int) -> list[int]:
        self.given += 1
        order = list(self.orders[self.given - 1])
        assert sorted(order) == list(range(tasks))
        return order


def scripted(rows: Matrix, orders: tuple[tuple[int, ...], ...]) -> Vector:
    method: Any = get_method("pcgrad")
    method.generator = Scripted(orders)
    found = aggregate(method, rows)
    assert method.generator.given == len(rows)  # one order for every task: the trap is one order for all
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
