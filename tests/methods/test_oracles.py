"""The methods against published values, TorchJD, a conic solver, and re-implementations of the papers' algorithms.

Nothing here shares code with the methods: the oracles work on the P-dimensional vectors, never on the Gram matrix.
"""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torchjd import aggregation as torchjd

from mtlbench import aggregate, get_method, seeds
from mtlbench.contract.method import Matrix, Observation, Vector

cvxpy: Any = importlib.import_module("cvxpy")  # its types leave out half its names

PUBLISHED = np.array([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])
SIZES = [2, 3, 8, 16]
SPREADS = [0.0, 3.0]
"""Norms are 10^(uniform ± spread)."""


def jacobian(seed: int, tasks: int, size: int, spread: float = 0.0) -> Matrix:
    random = np.random.default_rng([seed, tasks, size])
    return np.asarray(random.normal(size=(tasks, size)) * 10.0 ** random.uniform(-spread, spread, (tasks, 1)))


def peer(aggregator: torchjd.Aggregator, rows: Matrix) -> Vector:
    return np.asarray(aggregator(torch.from_numpy(rows)).numpy())


def distance(got: Vector, wanted: Vector) -> float:
    return float(np.linalg.norm(got - wanted) / np.linalg.norm(wanted))


# Published values and values by hand


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ("sum", [2.0, 2.0, 2.0]),
        ("pcgrad", [0.5848, 3.8012, 3.8012]),
        ("mgda", [0.0, 1.0, 1.0]),
        ("cagrad[c=0.5]", [0.1835, 1.2041, 1.2041]),
        ("gradnorm", [2.0, 2.0, 2.0]),  # its first step is the plain sum
    ],
)
def test_published_values(spec: str, wanted: Sequence[float]) -> None:
    assert aggregate(spec, PUBLISHED, losses=[1.0, 1.0]) == pytest.approx(wanted, abs=1e-4)


def test_pcgrad_by_hand() -> None:
    """⟨g₁, g₂⟩ = −22, ‖g₁‖² = 18, ‖g₂‖² = 38: g₁ + 22/38 g₂ + g₂ + 22/18 g₁."""
    wanted = (1 + 22 / 18) * PUBLISHED[0] + (1 + 22 / 38) * PUBLISHED[1]
    assert aggregate("pcgrad", PUBLISHED) == pytest.approx(wanted, rel=1e-14)


def test_gradnorm_second_step_by_hand() -> None:
    """Equal rates: the target is the mean norm, ‖g₁‖ = √18 is below it, ‖g₂‖ above; Adam's first step is ±lr."""
    method = get_method("gradnorm")
    aggregate(method, PUBLISHED, losses=[1.0, 1.0])
    found = aggregate(method, PUBLISHED, losses=[1.0, 1.0])
    assert found == pytest.approx(1.025 * PUBLISHED[0] + 0.975 * PUBLISHED[1], rel=1e-12)


# TorchJD


@pytest.mark.parametrize("tasks", [2, 3, 5, 8])
@pytest.mark.parametrize("seed", range(4))
class TestTorchJD:
    def test_sum(self, seed: int, tasks: int) -> None:
        rows = jacobian(seed, tasks, 20)
        assert aggregate("sum", rows) == pytest.approx(peer(torchjd.Sum(), rows), rel=1e-12)

    def test_mgda_is_at_least_as_short_and_agrees(self, seed: int, tasks: int) -> None:
        """A point q of the hull is no further from the nearest point p than ‖q − p‖² ≤ ‖q‖² − ‖p‖².

        (⟨q − p, p⟩ ≥ 0 by optimality of p.) Their Frank–Wolfe iterations end on a q up to 5 % away from p.
        """
        rows = jacobian(seed, tasks, 20)
        ours, theirs = aggregate("mgda", rows), peer(torchjd.MGDA(epsilon=1e-9, max_iters=500), rows)
        assert np.sum((theirs - ours) ** 2) <= theirs @ theirs - ours @ ours + 1e-12
        assert distance(ours, theirs) < 0.1

    @pytest.mark.parametrize("c", [0.1, 0.4, 0.9])
    def test_cagrad(self, seed: int, tasks: int, c: float) -> None:
        rows = jacobian(seed, tasks, 20)
        assert distance(aggregate("cagrad", rows, c=c), peer(torchjd.CAGrad(c, norm_eps=1e-12), rows)) < 1e-4

    def test_mean_is_cagrad_of_radius_zero(self, seed: int, tasks: int) -> None:
        rows = jacobian(seed, tasks, 20)
        assert aggregate("cagrad", rows, c=0.0) == pytest.approx(peer(torchjd.Mean(), rows), rel=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_pcgrad_of_two_tasks_is_that_of_torchjd(seed: int) -> None:
    """With one other task there is one order, so the random numbers do not matter."""
    rows = jacobian(seed, 2, 4, spread=1.0)
    assert aggregate("pcgrad", rows) == pytest.approx(peer(torchjd.PCGrad(), rows), rel=1e-10)


# PCGrad: algorithm 1 of the paper, on vectors


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
    seen = np.unique(np.round([aggregate(method, rows) for _ in range(600)], 9), axis=0)
    assert len(distinct) == 8  # two orders of the other tasks for each of three, all different here
    assert seen == pytest.approx(distinct, abs=1e-8)


# MGDA and CAGrad: a conic solver on the primal problems


def conic(problem: Any) -> None:
    problem.solve(solver=cvxpy.CLARABEL, tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9)
    assert problem.status in ("optimal", "optimal_inaccurate")


def nearest_point(rows: Matrix) -> Vector:
    """Return the point of the hull of linearly independent rows that is nearest to 0, as a maximum margin.

    With u = argmin ‖u‖ subject to ⟨gᵢ, u⟩ ≥ 1, the point is p = u/‖u‖²: every hull point q has ⟨q, u⟩ ≥ 1, so
    ‖q‖ ≥ 1/‖u‖ = ‖p‖, and by duality of the problem p is in the hull. The constraints are divided by ‖gᵢ‖, and
    the shortest gradient made 1, which keeps the solver in its comfort whatever the norms are.
    """
    lengths = np.linalg.norm(rows, axis=1)
    u = cvxpy.Variable(rows.shape[1])
    conic(cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(u)), [rows / lengths[:, None] @ u >= lengths.min() / lengths]))
    found = np.asarray(u.value)
    return np.asarray(found / (found @ found) * lengths.min())


def conflict_averse(rows: Matrix, c: float) -> Vector:
    """Return argmax_d minᵢ ⟨gᵢ, d⟩ subject to ‖d − g₀‖ ≤ c‖g₀‖: equation 3 of Liu et al. 2021, with units as above."""
    lengths, mean = np.linalg.norm(rows, axis=1), rows.mean(axis=0)
    unit = float(np.linalg.norm(mean))
    d, worst = cvxpy.Variable(rows.shape[1]), cvxpy.Variable()
    conic(
        cvxpy.Problem(
            cvxpy.Maximize(worst),
            [
                rows / lengths[:, None] @ d >= worst * (lengths.min() / lengths),
                cvxpy.norm(d - mean / unit, 2) <= c,
            ],
        )
    )
    return np.asarray(d.value) * unit


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("tasks", SIZES)
def test_mgda_is_the_nearest_point(tasks: int, spread: float) -> None:
    for seed in range(3):
        rows = jacobian(seed, tasks, 20, spread)
        ours, wanted = aggregate("mgda", rows), nearest_point(rows)
        assert np.linalg.norm(ours) <= np.linalg.norm(wanted) * (1 + 1e-7)
        assert distance(ours, wanted) < 1e-5


@pytest.mark.parametrize("c", [0.2, 0.4, 0.9])
@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("tasks", SIZES)
def test_cagrad_is_the_best_direction_of_its_ball(tasks: int, spread: float, c: float) -> None:
    rows = jacobian(7, tasks, 20, spread)
    ours, wanted = aggregate("cagrad", rows, c=c), conflict_averse(rows, c)
    best = float((rows @ wanted).min())
    unit = float(np.linalg.norm(rows, axis=1).min() * np.linalg.norm(rows.mean(axis=0)))
    assert (rows @ ours).min() >= best - 1e-7 * (unit + abs(best))
    assert distance(ours, wanted) < 1e-3  # the objective is flat at its top: directions agree to the root of that


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([1.0, 0.0], [0.0, 1.0]),
        ([1.0, 0.0], [2.0, 1.0]),
        ([1.0, 0.0], [0.5, 1e-3]),
        ([1.0, 2.0], [-3.0, 1.0]),
        ([1.0, 0.0], [-1.0, 0.0]),
        ([1e-3, 0.0], [-1e3, 2e3]),
        ([2.0, 2.0], [2.0, 2.0]),
    ],
)
def test_mgda_of_two_tasks_has_a_closed_form(first: list[float], second: list[float]) -> None:
    """w₁ = clip(⟨g₂ − g₁, g₂⟩ / ‖g₁ − g₂‖², 0, 1): the foot of the perpendicular on the segment (paper, eq. 4)."""
    a, b = np.array(first), np.array(second)
    between = float((a - b) @ (a - b))
    weight = min(max(float((b - a) @ b) / between, 0.0), 1.0) if between else 0.5
    assert aggregate("mgda", np.stack([a, b])) == pytest.approx(weight * a + (1 - weight) * b, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("normalize", "scale"),
    [
        ("l2", lambda norms, losses: norms),
        ("loss", lambda norms, losses: losses),
        ("loss+", lambda norms, losses: norms * losses),
    ],
)
def test_mgda_normalize_combines_the_divided_gradients(normalize: str, scale: object) -> None:
    assert callable(scale)
    rows, losses = jacobian(3, 4, 20, 1.0), np.array([0.5, 2.0, 3.0, 0.1])
    divided = rows / scale(np.linalg.norm(rows, axis=1), losses)[:, None]
    ours = aggregate("mgda", rows, losses=losses, normalize=normalize)
    assert distance(ours, nearest_point(divided)) < 1e-5


@pytest.mark.parametrize(
    ("rescale", "reduction", "factor"),
    [
        ("none", "mean", 1.0),
        ("c2", "mean", 1 / 1.16),
        ("c", "mean", 1 / 1.4),
        ("none", "sum", 3.0),
        ("c2", "sum", 3 / 1.16),
        ("c", "sum", 3 / 1.4),
    ],
)
def test_cagrad_conventions(rescale: str, reduction: str, factor: float) -> None:
    rows = jacobian(1, 3, 20)
    ours = aggregate("cagrad", rows, c=0.4, rescale=rescale, reduction=reduction)
    assert ours == pytest.approx(aggregate("cagrad", rows, c=0.4) * factor, rel=1e-12)


# GradNorm: algorithm 1 of the paper, with autograd and torch's Adam


class Network:
    """Two layers and three regression heads of very different scales, in float64; W is the second layer."""

    def __init__(self) -> None:
        draw = torch.Generator().manual_seed(0)
        self.inputs = torch.randn(32, 5, generator=draw, dtype=torch.float64)
        self.first, self.last, self.targets, *self.heads = (
            torch.randn(*shape, generator=draw, dtype=torch.float64)
            for shape in [(5, 6), (6, 4), (32, 3), (4,), (4,), (4,)]
        )
        self.scales = [0.3, 1.0, 10.0]
        self.parameters = [self.first, self.last, *self.heads]
        for parameter in self.parameters:
            parameter.requires_grad_()

    def losses(self) -> list[torch.Tensor]:
        features = torch.tanh(torch.tanh(self.inputs @ self.first) @ self.last)
        return [
            scale * ((features @ head - target) ** 2).mean()
            for scale, head, target in zip(self.scales, self.heads, self.targets.T, strict=True)
        ]


@pytest.mark.parametrize(("alpha", "lr"), [(1.5, 0.025), (0.12, 0.025), (0.0, 0.1), (1.5, 0.5)])
def test_gradnorm_is_algorithm_1(alpha: float, lr: float) -> None:
    """30 steps of the paper's algorithm 1, with the two documented deviations: Adam on w, and the floor of 10⁻³."""
    network, method = Network(), get_method("gradnorm", alpha=alpha, lr=lr)
    w = torch.ones(3, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([w], lr=lr, eps=1e-30)
    start: torch.Tensor | None = None
    moved = 0.0
    for _ in range(30):
        losses = network.losses()
        stacked = torch.stack(losses).detach()
        start = stacked if start is None else start
        rows = torch.stack([torch.autograd.grad(loss, network.last, retain_graph=True)[0].flatten() for loss in losses])
        ours = method.weights(Observation(stacked.numpy(), (rows @ rows.T).numpy()))
        assert ours == pytest.approx(w.detach().numpy(), rel=1e-9)

        norms = torch.stack(
            [
                torch.autograd.grad(weight * loss, network.last, create_graph=True)[0].norm()
                for weight, loss in zip(w, losses, strict=True)
            ]
        )
        rates = stacked / start
        target = (norms.mean() * (rates / rates.mean()) ** alpha).detach()
        steps = torch.autograd.grad(
            sum(wi * li for wi, li in zip(w.detach(), losses, strict=True)), network.parameters, retain_graph=True
        )
        w.grad = torch.autograd.grad((norms - target).abs().sum(), w)[0]
        adam.step()
        with torch.no_grad():
            w.clamp_(min=1e-3)
            w.mul_(3.0 / w.sum())
            for parameter, step in zip(network.parameters, steps, strict=True):
                parameter -= 0.02 * step
        moved = max(moved, float((w - 1.0).abs().max().detach()))
    assert moved > 10 * lr or moved > 0.9  # it was no test of standing still


def test_gradnorm_keeps_the_first_losses() -> None:
    method, losses = get_method("gradnorm"), np.array([2.0, 4.0])
    gram = np.eye(2)
    method.weights(Observation(losses, gram))
    losses *= 7.0  # the caller's array is the caller's
    for value in (3.0, 1.0, 0.5):
        method.weights(Observation(np.array([value, 2 * value]), gram))
        assert method.state_dict()["first_losses"].tolist() == [2.0, 4.0]


def test_gradnorm_pulls_up_the_task_that_lags() -> None:
    """Equal norms, task 0 at its first loss and task 1 at a tenth of it: task 0 trains slower and must gain weight."""
    method = get_method("gradnorm")
    weights = method.weights(Observation(np.ones(2), np.eye(2)))
    for _ in range(10):
        weights = method.weights(Observation(np.array([1.0, 0.1]), np.eye(2)))
    assert weights[0] > 1.1 > 0.9 > weights[1]


def test_gradnorm_without_pull_equalises_the_weighted_norms() -> None:
    norms = np.array([1.0, 2.0, 4.0])
    method = get_method("gradnorm", alpha=0.0, lr=1e-3)
    weights = np.ones(3)
    for step in range(4000):
        weights = method.weights(Observation(np.full(3, 1.0 / (1 + step)), np.diag(norms**2)))
    assert weights == pytest.approx(3 * np.array([4.0, 2.0, 1.0]) / 7, rel=2e-2)
    assert weights * norms == pytest.approx(np.full(3, 12 / 7), rel=2e-2)
