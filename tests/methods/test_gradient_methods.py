"""Methods that read whole gradients or products of two batches, gates and wrappers.

Against values by hand, TorchJD, and re-implementations of the papers' algorithms on vectors.

Nothing here shares code with the methods, except where a test says that two of them must agree.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
import torch
from torchjd import aggregation as torchjd

import mtlbench
from mtlbench import aggregate, get_method, seeds, weights
from mtlbench.contract.method import Matrix, Method, Observation, Vector
from mtlbench.contract.observation import observe
from mtlbench.errors import UsageError
from mtlbench.solvers.simplex import project

UPDATES = ["graddrop", "graddrop[leak=0.3]", "trimmed-mean", "moco", "moco[normalize=loss]", "db-mtl", "config-m"]
CROSS = ["sdmgrad", "modo"]
OTHERS = ["krum", "excess-mtl", "cosine-gate", "metabalance", "log-mgda", "cr-mogm-excess-mtl", "cr-mogm-log-mgda"]
STEPS = 7


def jacobian(seed: int, tasks: int, size: int, spread: float = 0.0) -> Matrix:
    random = np.random.default_rng([seed, tasks, size])
    return np.asarray(random.normal(size=(tasks, size)) * 10.0 ** random.uniform(-spread, spread, (tasks, 1)))


def jacobians(seed: int, tasks: int, size: int, spread: float = 0.0) -> list[Matrix]:
    return [jacobian(1000 * seed + step, tasks, size, spread) for step in range(STEPS)]


def losses_of(seed: int, tasks: int) -> Vector:
    return np.random.default_rng([seed, tasks, 1]).uniform(0.1, 3.0, tasks)


def answer(method: Method, rows: torch.Tensor, losses: Vector | None = None, cross: Matrix | None = None) -> Vector:
    """Show a method everything, and return its update or weights, as an array of its own."""
    wide, tasks = rows.double().numpy(), len(rows)
    seen = observe(
        method,
        losses=np.ones(tasks) if losses is None else losses,
        gram=wide @ wide.T,
        cross_gram=np.eye(tasks) if cross is None else cross,
        gradients=rows,
    )
    return (method.update(seen).numpy() if method.returns == "update" else method.weights(seen)).copy()


# The projection onto the simplex


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


# GradDrop


def next_uniform(seed: int, steps: int, size: int) -> list[torch.Tensor]:
    """Return what the method's generator draws at its first steps."""
    random = seeds.generator(seed, "method", "graddrop")
    generators = [torch.Generator().manual_seed(int(random.integers(2**63))) for _ in range(steps)]
    return [torch.rand(size, dtype=torch.float64, generator=generator) for generator in generators]


@pytest.mark.parametrize("leak", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_graddrop_is_torchjd_with_the_same_draws(seed: int, leak: float, monkeypatch: pytest.MonkeyPatch) -> None:
    method = get_method("graddrop", seed=seed, leak=leak)
    for step, drawn in enumerate(next_uniform(seed, 3, 50)):
        rows = jacobian(seed + 10 * step, 4, 50)
        monkeypatch.setattr(torch, "rand", lambda *_, drawn=drawn, **__: drawn)
        wanted = torchjd.GradDrop(leak=torch.full((4,), leak, dtype=torch.float64))(torch.from_numpy(rows))
        assert aggregate(method, rows) == pytest.approx(wanted.numpy(), rel=1e-12)


def test_graddrop_keeps_one_sign_in_proportion_to_its_share() -> None:
    """Coordinates: +3 against −1, so P = ½ (1 + 2/4) = ¾; agreement, always the sum; nothing, always 0."""
    rows = np.array([[3.0, 1.0, 0.0], [-1.0, 2.0, 0.0]])
    method = get_method("graddrop")
    found = np.array([aggregate(method, rows) for _ in range(4000)])
    assert set(found[:, 0]) == {3.0, -1.0} and set(found[:, 1]) == {3.0} and set(found[:, 2]) == {0.0}
    assert np.mean(found[:, 0] == 3.0) == pytest.approx(0.75, abs=0.03)


def test_graddrop_with_a_leak_of_one_is_the_sum() -> None:
    rows = jacobian(0, 3, 9)
    assert aggregate("graddrop[leak=1]", rows) == pytest.approx(rows.sum(axis=0), rel=1e-12)


# Trimmed mean and Krum


@pytest.mark.parametrize(("trim", "tasks"), [(0, 1), (0, 4), (1, 3), (1, 6), (2, 5), (3, 16)])
def test_trimmed_mean_is_that_of_torchjd(trim: int, tasks: int) -> None:
    rows = jacobian(trim, tasks, 30, spread=2.0)
    wanted = torchjd.TrimmedMean(trim)(torch.from_numpy(rows)).numpy()
    assert aggregate("trimmed-mean", rows, trim=trim) == pytest.approx(wanted, rel=1e-12)


def test_trimmed_mean_of_three_is_the_median_in_every_block_of_columns() -> None:
    rows = jacobian(0, 3, 140_001)
    assert aggregate("trimmed-mean", rows) == pytest.approx(np.median(rows, axis=0), rel=1e-15)


@pytest.mark.parametrize(
    ("spec", "tasks", "least"), [("trimmed-mean", 2, 3), ("krum", 3, 4), ("krum[byzantine=0,selected=5]", 4, 5)]
)
def test_too_few_tasks_are_refused(spec: str, tasks: int, least: int) -> None:
    with pytest.raises(UsageError, match=f"needs at least {least} tasks, got {tasks}"):
        aggregate(spec, jacobian(0, tasks, 5))


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


# MoCo


def simplex_point(values: Vector) -> Vector:
    """Projection onto the simplex by bisection on θ."""
    low, high = values.max() - 1.0, values.max()
    for _ in range(200):
        middle = (low + high) / 2.0
        low, high = (middle, high) if np.maximum(values - middle, 0.0).sum() > 1.0 else (low, middle)
    return np.maximum(values - low, 0.0)


def softmax(values: Vector) -> Vector:
    return np.asarray(torch.softmax(torch.from_numpy(values), 0).numpy())


@pytest.mark.parametrize(("onto", "bring"), [("simplex", simplex_point), ("softmax", softmax)])
@pytest.mark.parametrize("normalize", ["none", "loss"])
@pytest.mark.parametrize("rho", [0.0, 0.5])
def test_moco_is_algorithm_1(onto: str, bring: Callable[[Vector], Vector], normalize: str, rho: float) -> None:
    method = get_method("moco", onto=onto, normalize=normalize, rho=rho, gamma=0.02)
    y, lam = np.zeros((4, 12)), np.full(4, 0.25)
    for step, rows in enumerate(jacobians(0, 4, 12), start=1):
        losses = losses_of(step, 4)
        used = rows.copy()
        if normalize == "loss":
            used = np.array([row / np.linalg.norm(row) * loss for row, loss in zip(rows, losses, strict=True)])
        y = y - 0.5 / np.sqrt(step) * (y - used)
        lam = bring(lam - 0.02 / np.sqrt(step) * (y @ y.T + rho * np.eye(4)) @ lam)
        assert aggregate(method, rows, losses=losses) == pytest.approx(y.T @ lam, rel=1e-9, abs=1e-12)


def test_moco_first_step_by_hand() -> None:
    """y = g/2, so Y Yᵀ λ = (1, 4)/8 · 1 and λ = Π(½ − .1/8, ½ − .4/8) = (.5 + .15/8, .5 − .15/8)."""
    rows = np.array([[1.0, 0.0], [0.0, 2.0]])
    assert aggregate("moco", rows) == pytest.approx([0.5 * (0.5 + 0.15 / 8), 1.0 * (0.5 - 0.15 / 8)], rel=1e-14)


def test_moco_of_huge_gradients_takes_the_shorter_one() -> None:
    assert aggregate("moco", np.array([[1e15, 0.0], [0.0, 2e15]])) == pytest.approx([5e14, 0.0])


# DB-MTL


@pytest.mark.parametrize(("beta", "sigma"), [(0.9, 0.0), (0.5, 0.5), (0.0, 0.0)])
def test_db_mtl_is_the_papers_algorithm(beta: float, sigma: float) -> None:
    method, average = get_method("db-mtl", beta=beta, beta_sigma=sigma), np.zeros((3, 10))
    for step, rows in enumerate(jacobians(1, 3, 10, spread=2.0), start=1):
        losses, now = losses_of(step, 3), beta / step**sigma
        average = now * average + (1 - now) * rows / losses[:, None]
        norms = np.linalg.norm(average, axis=1)
        wanted = sum(norms.max() / norm * row for norm, row in zip(norms, average, strict=True))
        assert aggregate(method, rows, losses=losses) == pytest.approx(wanted, rel=1e-9)


def test_db_mtl_by_hand_with_a_zero_gradient() -> None:
    """u = ½ (g₁/2, 0, g₃/4) = ½ ((1, 0), 0, (0, 3)): the first is brought to the length of the third."""
    rows = np.array([[2.0, 0.0], [0.0, 0.0], [0.0, 12.0]])
    found = aggregate("db-mtl[beta=0.5]", rows, losses=[2.0, 1.0, 4.0])
    assert found == pytest.approx([1.5, 1.5], rel=1e-14)


# ExcessMTL


@pytest.mark.parametrize("tasks", [1, 2, 5])
@pytest.mark.parametrize("step_size", [0.01, 1.0])
def test_excess_mtl_is_k_times_torchjd_with_a_baseline_of_one_step(tasks: int, step_size: float) -> None:
    """Gradients of length ~10⁴, so that their 10⁻⁷ does not matter."""
    ours = get_method("excess-mtl", step_size=step_size)
    theirs = torchjd.ExcessMTLWeighting(step_size, n_warmup_steps=1)
    for rows in jacobians(2, tasks, 40):
        wanted = tasks * theirs(torch.from_numpy(1e4 * rows)).numpy()
        assert answer(ours, torch.from_numpy(1e4 * rows)) == pytest.approx(wanted, rel=1e-6)


def test_excess_mtl_second_step_by_hand() -> None:
    """E(0) = Σ|g|: 1 and 2. Then g = (1, 0): 1/√2 over 1; and g = (0, 4): 16/√(4 + 16) over 2."""
    method = get_method("excess-mtl[step_size=2]")
    assert aggregate(method, np.array([[1.0, 0.0], [0.0, 2.0]])).tolist() == [1.0, 2.0]
    raised = np.exp(2.0 * np.array([1 / np.sqrt(2), 16 / np.sqrt(20) / 2]))
    assert aggregate(method, np.array([[1.0, 0.0], [0.0, 4.0]])) == pytest.approx(
        2 * raised / raised.sum() * [1.0, 4.0], rel=1e-12
    )


def test_excess_mtl_weights_do_not_depend_on_the_scale_of_a_loss() -> None:
    factors = np.array([[1e-10], [1.0], [1e12]])
    one, other = get_method("excess-mtl[step_size=1]"), get_method("excess-mtl[step_size=1]")
    for rows in jacobians(3, 3, 20):
        wanted = answer(one, torch.from_numpy(rows))
        found = answer(other, torch.from_numpy(factors * rows))
        assert found == pytest.approx(wanted, rel=1e-12)


def test_excess_mtl_takes_the_first_gradient_that_is_not_zero_for_its_baseline() -> None:
    method, rows = get_method("excess-mtl[step_size=1]"), np.array([[1.0, 2.0], [0.0, 0.0]])
    found = [answer(method, torch.from_numpy(rows)) for _ in range(2)]
    ratio = 1 / np.sqrt(2)
    assert found[0].tolist() == [1.0, 1.0] and found[1] == pytest.approx(2 * softmax(np.array([ratio, 0.0])))
    rows = np.array([[0.0, 0.0], [0.0, 3.0]])
    assert answer(method, torch.from_numpy(rows)) == pytest.approx(2 * softmax(np.array([ratio, 1.0])))


# M-ConFIG


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


def test_config_m_that_renews_all_is_the_published_operator_told_of_all() -> None:
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


# SDMGrad and MoDo


@pytest.mark.parametrize("tasks", [1, 2, 3, 8])
@pytest.mark.parametrize(("lam", "iterations"), [(0.3, 20), (0.6, 3), (0.0, 1)])
def test_sdmgrad_is_torchjd(tasks: int, lam: float, iterations: int) -> None:
    """Products of ~10¹⁰, so that their 10⁻⁸ does not matter."""
    ours = get_method("sdmgrad", lam=lam, iterations=iterations)
    theirs = torchjd.SDMGradWeighting(lambda_=lam, n_iter=iterations)
    for one, other in zip(jacobians(8, tasks, 30), jacobians(9, tasks, 30), strict=True):
        cross = 1e10 * (one @ one.T + 0.3 * one @ other.T)
        wanted = theirs(cast(Any, torch.from_numpy(cross))).numpy()
        assert weights(ours, cross_gram=cross) == pytest.approx(wanted, rel=1e-6, abs=1e-9)


def test_sdmgrad_ends_at_the_objectives_minimum_where_its_steps_are_small() -> None:
    """For K = 2, C = diag(1, 4): min ½(w₁ + λ/2)² + 2(w₂ + λ/2)² at w₁ + λ/2 = 4(w₂ + λ/2), w₁ + w₂ = 1."""
    lam = 0.6
    wanted = np.array([0.8 * (1 + lam), 0.2 * (1 + lam)]) / (1 + lam)
    found = weights("sdmgrad", cross_gram=np.diag([1.0, 4.0]), lr=0.1, iterations=500)
    assert found == pytest.approx(wanted, rel=1e-9)


def test_sdmgrad_keeps_its_weights_where_the_batches_disagree_on_everything() -> None:
    method = get_method("sdmgrad")
    before = weights(method, cross_gram=np.diag([1.0, 4.0]))
    assert weights(method, cross_gram=np.diag([-1.0, 0.0])).tolist() == before.tolist()


@pytest.mark.parametrize("tasks", [1, 2, 3, 8])
@pytest.mark.parametrize(("gamma", "rho"), [(1e-3, 0.1), (0.1, 0.0)])
def test_modo_is_torchjd(tasks: int, gamma: float, rho: float) -> None:
    ours, theirs = get_method("modo", gamma=gamma, rho=rho), torchjd.MoDoWeighting(gamma, rho)
    for one, other in zip(jacobians(8, tasks, 30), jacobians(9, tasks, 30), strict=True):
        wanted = theirs(cast(Any, torch.from_numpy(one @ other.T))).numpy()
        assert weights(ours, cross_gram=one @ other.T) == pytest.approx(wanted, rel=1e-12, abs=1e-15)


def test_modo_by_hand_and_in_aggregate() -> None:
    """C λ = (1, 2)/2 and ρ λ = .05: λ = Π(½ − γ(.55, 1.05)) = ½ ± γ/4."""
    one, other, third = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[1.0, 0.0], [0.0, 2.0]]), np.eye(2)
    assert aggregate("modo", third, further=(one, other)) == pytest.approx([0.50025, 0.49975], rel=1e-14)


# Cosine gate and MetaBalance


def test_cosine_gate_by_hand() -> None:
    rows = np.array([[3.0, 4.0], [1.0, 0.0], [-1.0, -1.0], [-4.0, 3.0], [0.0, 0.0]])
    gram = rows @ rows.T
    assert weights("cosine-gate", gram).tolist() == [1.0, 1.0, 0.0, 1.0, 1.0]
    assert weights("cosine-gate[weighted=true]", gram) == pytest.approx([1.0, 0.6, 0.0, 0.0, 0.0])
    assert weights("cosine-gate[main=2]", gram).tolist() == [0.0, 0.0, 1.0, 1.0, 1.0]
    assert weights("cosine-gate[main=4,weighted=true]", gram).tolist() == [0.0, 0.0, 0.0, 0.0, 1.0]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("main", range(5))
def test_cosine_gate_never_opposes_the_main_task(main: int, weighted: bool) -> None:
    for seed in range(20):
        rows = jacobian(seed, 5, 6, spread=2.0)
        update = aggregate("cosine-gate", rows, main=main, weighted=weighted)
        assert rows[main] @ update >= rows[main] @ rows[main] * (1 - 1e-12)


@pytest.mark.parametrize("main", [0, 2])
@pytest.mark.parametrize("strategy", ["both", "reduce", "enlarge"])
def test_metabalance_is_the_papers_algorithm(main: int, strategy: str) -> None:
    method, norms = get_method("metabalance", main=main, strategy=strategy), np.zeros(4)
    for rows in jacobians(10, 4, 9, spread=1.0):
        norms = 0.9 * norms + 0.1 * np.linalg.norm(rows, axis=1)
        wanted = rows[main].copy()
        for i in range(4):
            if i == main:
                continue
            changes = {"both": True, "reduce": norms[i] > norms[main], "enlarge": norms[i] < norms[main]}[strategy]
            wanted += rows[i] * (norms[main] / norms[i]) * 0.7 + rows[i] * 0.3 if changes else rows[i]
        assert aggregate(method, rows) == pytest.approx(wanted, rel=1e-9)


def test_metabalance_leaves_out_what_never_moved() -> None:
    assert weights("metabalance", np.diag([4.0, 0.0, 1.0])) == pytest.approx([1.0, 0.0, 0.7 * 2 + 0.3])
    assert weights("metabalance", np.diag([0.0, 1.0])) == pytest.approx([1.0, 0.3])


@pytest.mark.parametrize("name", ["cosine-gate", "metabalance"])
def test_a_main_task_that_does_not_exist_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"method {name}: main=3 counts from 0, and there are 3 tasks"):
        weights(name, np.eye(3), main=3)
    with pytest.raises(UsageError, match="parameter main=-1"):
        get_method(name, main=-1)


# Log


@pytest.mark.parametrize("spec", ["mgda", "cagrad[c=0.2]", "pcgrad", "krum", "metabalance[main=1]"])
def test_log_is_the_inner_method_on_the_gradients_of_the_logarithms(spec: str) -> None:
    wrapped, inner = get_method(f"log-{spec}", seed=3), get_method(spec, seed=3)
    inner.generator.bit_generator.state = wrapped.generator.bit_generator.state  # each name has its own draws
    for step, rows in enumerate(jacobians(11, 5, 9)):
        losses = losses_of(step, 5)
        wanted = aggregate(inner, rows / losses[:, None])
        assert aggregate(wrapped, rows, losses=losses) == pytest.approx(wanted, rel=1e-7, abs=1e-9)


def test_log_mgda_by_hand() -> None:
    """∇log L = (1, 0), (0, 2): the nearest point of the hull has weights .8, .2 of those."""
    found = weights("log-mgda", np.diag([4.0, 1.0]), losses=[2.0, 0.5])
    assert found == pytest.approx([0.8 / 2.0, 0.2 / 0.5], rel=1e-9)


def test_log_declares_what_it_changes_and_keeps_the_rest() -> None:
    wrapped, inner = get_method("log-mgda"), get_method("mgda")
    assert (wrapped.heads, wrapped.reads_losses, wrapped.scale) == ("log", "positive", inner.scale)
    assert wrapped.properties == inner.properties | {"loss-scale invariant"}
    assert get_method("log-pcgrad").symmetry == "in distribution"
    assert get_method("log-cagrad[c=0.2]").spec == "log-cagrad[c=0.2]"


def test_log_judges_the_transformed_problem() -> None:
    """An inner method whose residual is by how much its weights miss G 1."""
    base = type(get_method("mgda"))

    class Told(base):  # type: ignore[misc, valid-type]
        name = "told"

        def weights(self, seen: Observation) -> Vector:
            return seen.gram.sum(axis=1)

        def residual(self, seen: Observation, weights: Vector) -> float | None:
            return float(np.abs(weights - seen.gram.sum(axis=1)).max())

    wrapped = mtlbench.plugins.registry.load_registry().wrappers["log"].around(Told)()
    rows, losses = jacobian(12, 3, 5), losses_of(12, 3)
    seen = observe(wrapped, losses=losses, gram=rows @ rows.T)
    found = wrapped.weights(seen)
    assert wrapped.residual(seen, found) == pytest.approx(0.0, abs=1e-12)
    assert cast(float, wrapped.residual(seen, found + 1.0)) == pytest.approx(losses.max())


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("log-sum", "sum does not read inner products"),
        ("log-db-mtl", "db-mtl does not read inner products"),
        ("log-sdmgrad", "sdmgrad does not read inner products"),
        ("log-stl", "stl does not read inner products"),
        ("log-log-mgda", "are logarithms already"),
        ("log-cr-mogm-log-mgda", "are logarithms already"),
        ("log-gradnorm", "method log-gradnorm: the inner method must read nothing but inner products"),
        ("log-mgda[normalize=loss]", r"method log-mgda\[normalize=loss\]: the inner method must read nothing but"),
        ("cr-mogm-graddrop", "graddrop gives no weights"),
        ("cr-mogm-stl", "stl gives no weights"),
        ("cr-mogm-cr-mogm-mgda", "smoothed already"),
        ("cr-mogm-mgda[smoothing=1]", "parameter smoothing=1 should be less than 1"),
        ("log-mgdaa", "unknown method 'mgdaa'"),
    ],
)
def test_what_cannot_be_wrapped_is_refused(spec: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        get_method(spec)


def test_log_refuses_losses_without_a_logarithm() -> None:
    with pytest.raises(UsageError, match="takes logarithms of the losses"):
        weights("log-mgda", np.eye(2), losses=[1.0, 0.0])


# CR-MOGM


@pytest.mark.parametrize("inner", ["mgda", "cagrad", "excess-mtl", "log-mgda", "modo", "sum"])
@pytest.mark.parametrize("smoothing", [0.0, 0.5, 0.9])
def test_cr_mogm_is_torchjds_average_of_the_inner_methods_weights(inner: str, smoothing: float) -> None:
    class Given(torchjd.Weighting[Any]):
        def forward(self, stat: Any, /) -> torch.Tensor:
            return cast(torch.Tensor, stat)

    ours, plain = get_method(f"cr-mogm-{inner}", smoothing=smoothing), get_method(inner)
    theirs = torchjd.CRMOGMWeighting(Given(), alpha=smoothing)
    for step, rows in enumerate(jacobians(13, 4, 9)):
        losses, cross = losses_of(step, 4), rows @ jacobian(step, 4, 9).T
        wanted = theirs(torch.from_numpy(answer(plain, torch.from_numpy(rows), losses, cross))).numpy()
        assert answer(ours, torch.from_numpy(rows), losses, cross) == pytest.approx(wanted, rel=1e-12)


def test_cr_mogm_drops_what_averages_lose() -> None:
    assert get_method("cr-mogm-mgda").properties == {"homogeneous"}
    assert get_method("cr-mogm-mgda").state == "K" and get_method("cr-mogm-excess-mtl").state == "K × P"
    assert get_method("cr-mogm-excess-mtl").heads == "weighted" and get_method("cr-mogm-log-mgda").heads == "log"


# State, precision and shared buffers


@pytest.mark.parametrize("spec", [*UPDATES, *CROSS, *OTHERS, "config-m[refresh=all]"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_saved_state_replays_exactly_from_a_buffer_that_is_reused(spec: str, dtype: torch.dtype) -> None:
    """The engine writes every step's gradients into one buffer, so nothing may be kept of it."""
    steps = [torch.from_numpy(rows).to(dtype) for rows in jacobians(14, 5, 11)]
    buffer, method = torch.empty(5, 11, dtype=dtype), get_method(spec, seed=1)

    def run(used: Method, number: int, rows: torch.Tensor) -> bytes:
        return answer(used, rows, losses_of(number, 5), np.eye(5) + 0.1 * number).tobytes()

    wanted, saved = [], {}
    for number, rows in enumerate(steps):
        if number == 3:
            saved = method.state_dict()
        buffer.copy_(rows)
        wanted.append(run(method, number, buffer))
        assert torch.equal(buffer, rows)
        buffer.fill_(float("nan"))
    resumed = get_method(spec, seed=99)
    run(resumed, 0, steps[4])
    resumed.load_state_dict(saved)
    assert [run(resumed, 3 + number, rows) for number, rows in enumerate(steps[3:])] == wanted[3:]


@pytest.mark.parametrize("spec", [*UPDATES, *CROSS, *OTHERS])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("exponents", [(-10, -10), (0, 0), (15, 15), (-10, 15)])
def test_finite_in_both_precisions(spec: str, dtype: torch.dtype, exponents: tuple[int, int]) -> None:
    factors = np.logspace(*exponents, 6)[:, None]
    families = {
        "normal": jacobian(15, 6, 40),
        "zero rows": np.vstack([np.zeros((2, 40)), jacobian(16, 4, 40)]),
        "all zero": np.zeros((6, 40)),
        "equal": np.tile(jacobian(17, 1, 40), (6, 1)),
        "opposite": np.tile(jacobian(18, 1, 40), (6, 1)) * np.array([[1, -1, 1, -1, 1, -1]]).T,
    }
    for family, rows in families.items():
        method = get_method(spec)
        for step in range(3):
            scaled = torch.from_numpy(factors * rows).to(dtype)
            wide = scaled.double().numpy()
            found = answer(method, scaled, losses_of(step, 6), wide @ wide.T)
            assert np.isfinite(found).all(), family
            assert found.dtype == (np.float32 if dtype == torch.float32 and method.returns == "update" else np.float64)


@pytest.mark.parametrize("spec", ["graddrop", "moco", "db-mtl", "excess-mtl", "config-m", "cosine-gate", "log-mgda"])
def test_backward_gives_a_model_the_aggregated_update(spec: str) -> None:
    torch.manual_seed(0)
    shared, heads = torch.nn.Linear(4, 3).double(), [torch.nn.Linear(3, 1).double() for _ in range(3)]
    inputs, method, alone = torch.randn(8, 4).double(), get_method(spec), get_method(spec)
    for _ in range(2):
        losses = [(head(torch.tanh(shared(inputs))) - 1.0).square().mean() for head in heads]
        rows = [torch.autograd.grad(loss, list(shared.parameters()), retain_graph=True) for loss in losses]
        wanted = aggregate(
            alone,
            np.array([np.concatenate([part.numpy().ravel() for part in row]) for row in rows]),
            losses=[float(loss.detach()) for loss in losses],
        )
        shared.zero_grad()
        mtlbench.backward(losses, method, shared)
        found = np.concatenate([cast(torch.Tensor, one.grad).numpy().ravel() for one in shared.parameters()])
        assert found == pytest.approx(wanted, rel=1e-9)
