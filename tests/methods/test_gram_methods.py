"""Methods that solve a problem on the Gram matrix: against published values, closed forms, TorchJD and conic solvers.

The oracles work on the P-dimensional vectors, or are other people's code; none shares code with the methods.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torchjd import aggregation as torchjd

from mtlbench import aggregate, get_method, seeds, weights
from mtlbench.contract.method import Matrix, Method, Vector
from mtlbench.contract.observation import observe
from mtlbench.errors import SolverError, UsageError

cvxpy: Any = importlib.import_module("cvxpy")  # its types leave out half its names

PUBLISHED = np.array([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])
SOLVED = ["mgda", "mgda-ub", "cagrad", "nash-mtl", "fairgrad", "upgrad", "dualproj", "imtl-g", "pcd"]
CLOSED = ["config", "aligned-mtl", "gradvac"]
ALL = [*SOLVED, *CLOSED]
SIZES = [2, 3, 5, 8]


def jacobian(seed: int, tasks: int, size: int, spread: float = 0.0) -> Matrix:
    random = np.random.default_rng([seed, tasks, size])
    return np.asarray(random.normal(size=(tasks, size)) * 10.0 ** random.uniform(-spread, spread, (tasks, 1)))


def peer(aggregator: torchjd.Aggregator, rows: Matrix) -> Vector:
    return np.asarray(aggregator(torch.from_numpy(rows)).numpy())


def distance(got: Vector, wanted: Vector) -> float:
    return float(np.linalg.norm(got - wanted) / np.linalg.norm(wanted))


def angle(got: Vector, wanted: Vector) -> float:
    return float(np.linalg.norm(got / np.linalg.norm(got) - wanted / np.linalg.norm(wanted)))


def lengths(rows: Matrix) -> Vector:
    return np.asarray(np.linalg.norm(rows, axis=1))


def residual(method: Method, rows: Matrix, given: Vector | None = None) -> float | None:
    seen = observe(method, gram=rows @ rows.T)
    found = method.weights(seen)
    return method.residual(seen, found if given is None else given)


# Published values


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ("upgrad", [0.2929, 1.9004]),
        ("imtl-g", [0.0767, 1.0]),
        ("nash-mtl", [0.0542 * math.sqrt(2), 0.7061 * math.sqrt(2)]),  # published after the clip to 1; √K before it
        ("aligned-mtl[reduction=mean]", [0.2133, 0.9673]),
        ("config", [0.1588, 2.0706]),
        ("dualproj", [0.5556, 1.1111]),  # exactly 5/9; the published .5563 has a regularisation of 10⁻⁴ in it
        ("mgda-ub", [0.0, 1.0]),
        ("gradvac", [0.5848, 3.8012]),  # its first step is that of PCGrad
    ],
)
def test_published_values(spec: str, wanted: Sequence[float]) -> None:
    tolerance = 1e-3 if spec == "upgrad" else 1e-4
    assert aggregate(spec, PUBLISHED) == pytest.approx([wanted[0], wanted[1], wanted[1]], abs=tolerance)


# TorchJD


@pytest.mark.parametrize("tasks", SIZES)
@pytest.mark.parametrize("seed", range(3))
class TestTorchJD:
    @pytest.mark.parametrize("mode", ["min", "median", "rmse"])
    def test_aligned_mtl(self, mode: Any, seed: int, tasks: int) -> None:
        rows, theirs = jacobian(seed, tasks, 20), torchjd.AlignedMTL(scale_mode=mode)
        assert aggregate("aligned-mtl", rows, scale_mode=mode) / tasks == pytest.approx(peer(theirs, rows), rel=1e-8)

    @pytest.mark.parametrize("size", [3, 20])
    def test_config(self, size: int, seed: int, tasks: int) -> None:
        rows = jacobian(seed, tasks, size, spread=1.0)
        assert distance(aggregate("config", rows), peer(torchjd.ConFIG(), rows)) < 1e-7

    def test_imtl_g(self, seed: int, tasks: int) -> None:
        rows = jacobian(seed, tasks, 20)
        assert distance(aggregate("imtl-g", rows), peer(torchjd.IMTLG(), rows)) < 1e-7

    @pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
    def test_fairgrad(self, alpha: float, seed: int, tasks: int) -> None:
        rows = jacobian(seed, tasks, 20)
        assert distance(aggregate("fairgrad", rows, alpha=alpha), peer(torchjd.FairGrad(alpha), rows)) < 1e-4

    @pytest.mark.parametrize("tau", [0.0, 0.02, 0.7])
    def test_pcd_over_steps(self, tau: float, seed: int, tasks: int) -> None:
        ours, theirs = get_method("pcd", tau=tau, beta=0.9), torchjd.PCD(tau, beta=0.9, eps=0.0)
        for step in range(4):
            rows = jacobian(seed + 10 * step, tasks, 20, spread=1.0)
            assert distance(aggregate(ours, rows), peer(theirs, rows)) < 1e-7

    def test_gradvac_of_two_tasks_over_steps(self, seed: int, tasks: int) -> None:
        """With one other task there is one order, so the random numbers do not matter."""
        ours, theirs = get_method("gradvac", beta=0.5), torchjd.GradVac(beta=0.5, eps=0.0)
        for step in range(8):
            rows = jacobian(seed + 10 * step, 2, tasks)
            assert aggregate(ours, rows) == pytest.approx(peer(theirs, rows), rel=1e-9)


# Conic solvers on the primal problems


def conic(problem: Any) -> None:
    problem.solve(solver=cvxpy.CLARABEL, tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9)
    assert problem.status in ("optimal", "optimal_inaccurate")


def projection(rows: Matrix, target: Vector) -> Vector:
    """Return the d nearest to the target with ⟨gᵢ, d⟩ ≥ 0; dividing these by ‖gᵢ‖ changes nothing."""
    d = cvxpy.Variable(len(target))
    units, size = rows / lengths(rows)[:, None], float(np.linalg.norm(target))
    conic(cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(d - target / size)), [units @ d >= 0]))
    return np.asarray(d.value) * size


@pytest.mark.parametrize("spread", [0.0, 3.0])
@pytest.mark.parametrize("tasks", [2, 4, 8])
def test_upgrad_is_the_mean_of_projections(tasks: int, spread: float) -> None:
    rows = jacobian(2, tasks, 5, spread)
    wanted = np.mean([projection(rows, row) for row in rows], axis=0)
    assert np.linalg.norm(aggregate("upgrad", rows) - wanted) < 1e-4 * lengths(rows).max()
    assert aggregate("upgrad[reduction=sum]", rows) == pytest.approx(tasks * aggregate("upgrad", rows), rel=1e-12)


@pytest.mark.parametrize("spread", [0.0, 3.0])
@pytest.mark.parametrize("tasks", [2, 4, 8])
def test_dualproj_is_the_projection_of_the_mean(tasks: int, spread: float) -> None:
    rows = jacobian(3, tasks, 5, spread)
    wanted = projection(rows, rows.mean(axis=0))
    assert np.linalg.norm(aggregate("dualproj", rows) - wanted) < 1e-4 * lengths(rows).max()


@pytest.mark.parametrize("spread", [0.0, 1.0])
@pytest.mark.parametrize("tasks", [2, 3, 8])
def test_nash_is_the_bargaining_solution(tasks: int, spread: float) -> None:
    """d/‖d‖ maximises Σ log ⟨gᵢ, d⟩ over the unit ball: where a gradient's length adds only a constant."""
    rows = jacobian(4, tasks, 20, spread)
    d = cvxpy.Variable(20)
    units = rows / lengths(rows)[:, None]
    conic(cvxpy.Problem(cvxpy.Maximize(cvxpy.sum(cvxpy.log(units @ d))), [cvxpy.norm(d, 2) <= 1]))
    assert angle(aggregate("nash-mtl", rows), np.asarray(d.value)) < 1e-4


@pytest.mark.parametrize("tasks", [2, 3, 8])
def test_fairgrad_maximises_alpha_fair_progress(tasks: int) -> None:
    """At α = 2 the utility Σ ⟨gᵢ, d⟩^(1−α)/(1−α) is −Σ 1/⟨gᵢ, d⟩."""
    rows = jacobian(5, tasks, 20)
    d = cvxpy.Variable(20)
    conic(cvxpy.Problem(cvxpy.Minimize(cvxpy.sum(cvxpy.inv_pos(rows @ d))), [cvxpy.norm(d, 2) <= 1]))
    assert angle(aggregate("fairgrad", rows), np.asarray(d.value)) < 1e-4


# The defining equations, and closed forms


@pytest.mark.parametrize("spread", [0.0, 3.0, 10.0])
@pytest.mark.parametrize("tasks", [1, 2, 8, 16])
def test_nash_weights_solve_their_equation(tasks: int, spread: float) -> None:
    for seed in range(5):
        rows = jacobian(seed, tasks, 40, spread)
        found = weights("nash-mtl", rows @ rows.T)
        assert found.min() > 0.0
        assert found * (rows @ (found @ rows)) == pytest.approx(np.ones(tasks), rel=1e-6)


@pytest.mark.parametrize("alpha", [0.3, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("spread", [0.0, 3.0, 10.0])
@pytest.mark.parametrize("tasks", [1, 2, 8])
def test_fairgrad_weights_solve_their_equation(tasks: int, spread: float, alpha: float) -> None:
    """⟨gᵢ, d⟩ = xᵢ^(−1/α), relative to the terms of ⟨gᵢ, d⟩: norms over twenty orders leave no more."""
    for seed in range(5):
        rows = jacobian(seed, tasks, 40, spread)
        gram = rows @ rows.T
        x = weights("fairgrad", gram, alpha=alpha)
        assert x.min() > 0.0
        wanted = x ** (-1.0 / alpha)
        assert (np.abs(gram @ x - wanted) / (np.abs(gram) @ x + wanted)).max() < 1e-7


@pytest.mark.parametrize("spread", [0.0, 3.0])
@pytest.mark.parametrize("tasks", [2, 3, 8])
def test_fairgrad_of_alpha_one_is_nash(tasks: int, spread: float) -> None:
    rows = jacobian(6, tasks, 20, spread)
    assert aggregate("fairgrad", rows, alpha=1.0) == pytest.approx(aggregate("nash-mtl", rows), rel=1e-9)


@pytest.mark.parametrize("degrees", [0.0, 10.0, 90.0, 135.0, 179.0])
@pytest.mark.parametrize("scale", [1e-10, 1.0, 1e15])
def test_nash_of_two_tasks_has_a_closed_form(degrees: float, scale: float) -> None:
    """αᵢ = 1/(‖gᵢ‖√(1 + cos θ))."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    rows = scale * np.array([[2.0, 0.0], [0.3 * cosine, 0.3 * sine]])
    wanted = 1.0 / (lengths(rows) * math.sqrt(1.0 + cosine))
    assert weights("nash-mtl", rows @ rows.T) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("tasks", [2, 3, 8])
def test_equal_projections_of_imtl_g_and_equal_cosines_of_config(tasks: int) -> None:
    rows = jacobian(7, tasks, 20, spread=2.0)
    units = rows / lengths(rows)[:, None]
    along = units @ aggregate("imtl-g", rows)
    assert along == pytest.approx(np.full(tasks, along.mean()), rel=1e-9)
    assert weights("imtl-g", rows @ rows.T).sum() == pytest.approx(1.0, rel=1e-12)
    update = aggregate("config", rows)
    cosines = units @ update / np.linalg.norm(update)
    assert cosines == pytest.approx(np.full(tasks, cosines.mean()), rel=1e-9) and cosines.min() > 0.0
    assert np.linalg.norm(update) == pytest.approx(float((rows @ update).sum() / np.linalg.norm(update)), rel=1e-9)


def test_imtl_g_is_the_closed_form_of_the_paper() -> None:
    """α₂… = g₁Uᵀ(DUᵀ)⁻¹ with the rows u₁ − uᵢ of U and g₁ − gᵢ of D, and α₁ = 1 − Σ αᵢ."""
    rows = jacobian(8, 5, 20, spread=1.0)
    units = rows / lengths(rows)[:, None]
    apart, between = units[0] - units[1:], rows[0] - rows[1:]
    others = rows[0] @ apart.T @ np.linalg.inv(between @ apart.T)
    assert weights("imtl-g", rows @ rows.T) == pytest.approx([1.0 - others.sum(), *others], rel=1e-7)


def test_imtl_g_of_singular_matrices_is_the_limit() -> None:
    """Opposite gradients have d = 0; so have three in a plane, whose affine hull of unit vectors holds the origin."""
    rows = np.array([[2.0, 0.0], [-0.5, 0.0]])
    assert weights("imtl-g", rows @ rows.T) == pytest.approx([0.2, 0.8], rel=1e-12)
    for seed in range(20):
        rows = jacobian(seed, 3, 2)
        cosines = rows @ rows.T / np.outer(lengths(rows), lengths(rows))
        near = np.linalg.solve(cosines + 1e-9 * np.eye(3), np.ones(3)) / lengths(rows)
        found = weights("imtl-g", rows @ rows.T)
        assert found == pytest.approx(near / near.sum(), rel=1e-4)
        assert np.linalg.norm(found @ rows) < 1e-7 * (np.abs(found) @ lengths(rows))


def test_imtl_g_shares_the_weight_of_duplicates() -> None:
    rows = np.array([[1.0, 2.0], [1.0, 2.0], [3.0, -1.0]])
    pair = weights("imtl-g", rows[1:] @ rows[1:].T)
    assert weights("imtl-g", rows @ rows.T) == pytest.approx([pair[0] / 2, pair[0] / 2, pair[1]], rel=1e-9)


def test_imtl_g_refuses_weights_that_cannot_sum_to_one() -> None:
    """β = (1, 1, −1) of unit gradients: u₁ + u₂ − u₃ has equal products with all three, as u₁ ⊥ u₂ and u₃ = u₁ + u₂.

    Here the lengths are chosen so that Σ βᵢ/‖gᵢ‖ = 0.
    """
    units = np.array([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [0.9, 0.3, math.sqrt(0.1)]])
    beta = np.linalg.solve(units @ units.T, np.ones(3))
    assert beta.min() < 0.0 < beta.max()
    worst = int(beta.argmin())
    scale = np.ones(3)
    scale[worst] = -beta[worst] / (beta.sum() - beta[worst])
    rows = units * scale[:, None]
    with pytest.raises(SolverError, match=r"imtl-g.*gram \[\["):
        weights("imtl-g", rows @ rows.T)


@pytest.mark.parametrize("seed", range(10))
def test_upgrad_of_two_tasks_is_half_of_pcgrad(seed: int) -> None:
    rows = jacobian(seed, 2, 4, spread=1.0)
    assert aggregate("upgrad", rows) == pytest.approx(aggregate("pcgrad", rows) / 2, rel=1e-9)


@pytest.mark.parametrize("tasks", [2, 5])
def test_mgda_ub_of_separate_batches_weighs_by_inverse_squares(tasks: int) -> None:
    """Representations of different batches are different coordinates: the gradients are orthogonal."""
    norms = np.random.default_rng(0).uniform(0.1, 10.0, tasks)
    assert weights("mgda-ub", np.diag(norms**2)) == pytest.approx(norms**-2 / (norms**-2).sum(), rel=1e-12)
    assert get_method("mgda-ub").gram_of == "representation" and get_method("mgda").gram_of == "shared"


@pytest.mark.parametrize("mode", ["min", "median", "rmse"])
def test_aligned_gradients_are_orthogonal_and_equally_long(mode: str) -> None:
    """w = B 1 for the symmetric B with B G B = σ² I: by the singular value decomposition J = P S Qᵀ, B J = σ P Qᵀ."""
    rows = jacobian(9, 4, 20, spread=1.0)
    left, values, right = np.linalg.svd(rows, full_matrices=False)
    squares = np.sort(values**2)
    sigma = math.sqrt({"min": squares[0], "median": squares[1], "rmse": squares.mean()}[mode])
    assert aggregate("aligned-mtl", rows, scale_mode=mode) == pytest.approx(
        (sigma * left @ right).sum(axis=0), rel=1e-8
    )


# GradVac: algorithm 1 of the paper, on vectors


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
        assert method.state_dict()["targets"] == pytest.approx(targets, abs=1e-9)


def test_gradvac_survives_targets_of_one_and_gradients_that_cancel() -> None:
    method = get_method("gradvac", beta=1.0)
    one = np.array([[1.0, 2.0], [1.0, 2.0]])
    assert aggregate(method, one).tolist() == [2.0, 4.0]
    opposed = np.array([[1.0, 2.0], [1.0, -2.0]])
    found = aggregate(method, opposed)  # targets are 1 now: aimed at as 1 − 10⁻⁶
    assert np.isfinite(found).all() and np.linalg.norm(found) < 1e5
    assert aggregate("gradvac", np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]])).tolist() == [0.0, 0.0]


# PCD


def constrained(rows: Matrix, tau: float) -> Vector:
    units = rows / lengths(rows)[:, None]
    d = cvxpy.Variable(rows.shape[1])
    conic(cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(d - units[0])), [units[1:] @ d >= tau]))
    found = np.asarray(d.value)
    return found / np.linalg.norm(found) * lengths(rows)[0]


@pytest.mark.parametrize("tau", [0.0, 0.02, 0.5])
@pytest.mark.parametrize("tasks", [2, 4, 8])
def test_pcd_is_the_nearest_feasible_direction(tasks: int, tau: float) -> None:
    rows = jacobian(10, tasks, 20, spread=2.0)
    assert distance(aggregate("pcd", rows, tau=tau), constrained(rows, tau)) < 1e-5


def test_pcd_at_its_edges() -> None:
    assert aggregate("pcd", np.array([[0.0, 0.0], [1.0, 2.0]])).tolist() == [0.0, 0.0]  # nothing to follow
    incompatible = np.array([[1.0, 1.0], [0.0, 1.0], [0.0, -1.0]])
    assert aggregate("pcd", incompatible).tolist() == [1.0, 1.0]
    assert aggregate("pcd", incompatible, tau=0.0) == pytest.approx([math.sqrt(2), 0.0], rel=1e-12)
    opposed = np.array([[3.0, 0.0], [-1.0, 0.0]])
    assert aggregate("pcd", opposed) == pytest.approx([-3.0, 0.0], rel=1e-12)  # any share of −g₁ is all of it
    assert aggregate("pcd", opposed, tau=0.0).tolist() == [0.0, 0.0]


def test_pcd_follows_the_task_that_is_named() -> None:
    rows = jacobian(11, 4, 20)
    order = [2, 0, 1, 3]
    assert aggregate("pcd[main=2]", rows) == pytest.approx(aggregate("pcd", rows[order]), rel=1e-9)
    with pytest.raises(UsageError, match="pcd needs at least 5 tasks, got 4"):
        aggregate("pcd[main=4]", rows)


# Nash-MTL and FairGrad: clip and period


@pytest.mark.parametrize("name", ["nash-mtl", "fairgrad"])
def test_the_engine_is_asked_to_clip(name: str) -> None:
    assert get_method(name).clip_norm == 1.0
    assert get_method(name, max_norm=0.3).clip_norm == 0.3
    assert get_method(name, max_norm=0).clip_norm is None


def test_nash_keeps_its_weights_between_computations() -> None:
    method, grams = get_method("nash-mtl", every=3), [rows @ rows.T for rows in (jacobian(s, 3, 9) for s in range(6))]
    found = [weights(method, gram) for gram in grams]
    fresh = [weights("nash-mtl", gram) for gram in grams]
    for step in range(6):
        assert found[step].tolist() == fresh[3 * (step // 3)].tolist()
    assert method.residual(observe(method, gram=grams[5]), found[5]) is None


# Every method: what may be given to it


def singular(seed: int) -> list[Matrix]:
    """Return stationary, duplicated, opposite, rank-one and zero matrices."""
    draw = np.random.default_rng(seed)
    rows, v = draw.normal(size=(5, 12)), draw.uniform(0.1, 1.0, 5)
    weak = np.array([*v[:4], 0.0])
    zeros = rows.copy()
    zeros[:2] = 0.0
    return [
        rows - np.outer(v, v @ rows) / (v @ v),
        rows - np.outer(weak, weak @ rows) / (weak @ weak),
        np.vstack([rows, rows[0]]),
        np.vstack([rows, -rows[0]]),
        np.outer(draw.normal(size=5), rows[0]),
        zeros,
        np.zeros((3, 4)),
        rows[:1],
        draw.normal(size=(9, 3)),
    ]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("exponent", [-10, 0, 15])
def test_singular_matrices_have_finite_weights_and_meet_the_conditions(name: str, exponent: int) -> None:
    for rows in singular(1):
        method = get_method(name)
        seen = observe(method, gram=(rows * 10.0**exponent) @ (rows * 10.0**exponent).T)
        found = method.weights(seen)
        assert np.isfinite(found).all()
        violation = method.residual(seen, found)
        assert (violation is None) == (name in CLOSED)
        assert violation is None or violation <= 1e-8


@pytest.mark.parametrize("name", ALL)
def test_products_of_single_precision_are_accepted(name: str) -> None:
    """Their Gram matrices have eigenvalues of −10⁻⁷ where there should be zeros."""
    negative = 0.0
    for seed in range(10):
        for rows in singular(seed):
            single = rows.astype(np.float32)
            gram = np.asarray(single @ single.T, dtype=np.float64)
            negative = min(negative, float(np.linalg.eigvalsh(gram).min()))
            method = get_method(name)
            seen = observe(method, gram=gram)
            found = method.weights(seen)
            assert np.isfinite(found).all()
            assert (method.residual(seen, found) or 0.0) <= 1e-8
    assert negative < -1e-7


@pytest.mark.parametrize("name", ALL)
def test_mixed_norms_are_accepted(name: str) -> None:
    for seed in range(30):
        for spread in (5.0, 10.0):
            rows = jacobian(seed, 2 + seed % 9, 12, spread)
            method = get_method(name)
            assert (residual(method, rows) or 0.0) <= 1e-8
            assert np.isfinite(aggregate(method, rows)).all()


@pytest.mark.parametrize("name", [name for name in ALL if name not in ("mgda", "mgda-ub", "cagrad")])
def test_a_gradient_of_zero_is_left_out(name: str) -> None:
    rows = jacobian(12, 3, 8)
    padded = np.vstack([rows, np.zeros((1, 8))])
    found, wanted = weights(name, padded @ padded.T), weights(name, rows @ rows.T)
    if name == "gradvac":
        wanted = found[:3]  # another order is drawn for four tasks; nothing else can be said
        assert found[3] == 1.0
    elif name in ("upgrad", "dualproj"):  # averages over the tasks
        assert found[:3] == pytest.approx(wanted * 3 / 4, rel=1e-9) and found[3] == 0.0
    else:
        assert found == pytest.approx([*wanted, 0.0], rel=1e-7)


@pytest.mark.parametrize("name", ["upgrad", "dualproj"])
def test_projections_conflict_with_no_task(name: str) -> None:
    for seed in range(3):
        for rows in [*singular(seed), jacobian(seed, 8, 5, 5.0)]:
            update, norms = aggregate(name, rows), lengths(rows)
            along = rows @ update / np.where(norms > 0.0, norms, 1.0)
            assert along.min() >= -1e-7 * (np.abs(weights(name, rows @ rows.T)) @ norms)


@pytest.mark.parametrize("factor", [1e-9, 1e3])
def test_nash_does_not_see_the_scale_of_a_loss(factor: float) -> None:
    for seed in range(3):
        rows = jacobian(seed, 5, 20)
        scaled = rows.copy()
        scaled[2] *= factor
        assert aggregate("nash-mtl", scaled) == pytest.approx(aggregate("nash-mtl", rows), rel=1e-8)


# What happens when a solver is wrong


def shifted(found: Vector, rows: Matrix) -> Vector:
    """Return the weights with 1 % of the shortest gradient's weight added to that of the longest, by length."""
    norms = lengths(rows)
    changed = found.copy()
    changed[norms.argmax()] += 0.01 * (np.abs(found) @ norms) / norms.max()
    changed[norms.argmin()] *= 0.99
    return changed


@pytest.mark.parametrize("name", [name for name in SOLVED if name != "upgrad"])
def test_the_residual_sees_weights_that_are_off_by_a_percent(name: str) -> None:
    for seed in range(5):
        rows = jacobian(seed, 4, 3, 1.0)
        method = get_method(name)
        seen = observe(method, gram=rows @ rows.T)
        found = method.weights(seen)
        right, wrong = method.residual(seen, found), method.residual(seen, shifted(found, rows))
        assert right is not None and wrong is not None
        assert right <= 1e-8 and wrong > 1e-5, (seed, right, wrong)


def test_the_residual_of_upgrad_sees_a_conflict_and_a_share_that_is_too_small() -> None:
    method = get_method("upgrad")
    assert (residual(method, PUBLISHED, np.array([0.5, 0.5])) or 0.0) > 1e-2
    assert (residual(method, PUBLISHED, np.array([0.4, 5.0])) or 0.0) > 1e-2


def give_up(*_: object, **__: object) -> None:
    raise RuntimeError("Maximum number of iterations reached.")


def wrong(matrix: Matrix, *_: object, **__: object) -> tuple[Vector, float]:
    return np.full(matrix.shape[1], 0.7), 0.0


@pytest.mark.parametrize("name", ["mgda", "mgda-ub", "cagrad", "upgrad", "dualproj", "pcd"])
@pytest.mark.parametrize("broken", [give_up, wrong])
def test_no_start_value_is_returned_when_active_sets_fail(
    name: str, broken: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scipy.optimize.nnls", broken)
    with pytest.raises(SolverError) as caught:
        aggregate(name, PUBLISHED)
    message = str(caught.value)
    assert message.startswith(f"{name}: ") and "[[" in message and "\n" not in message


@pytest.mark.parametrize("name", ["nash-mtl", "fairgrad"])
def test_no_start_value_is_returned_when_newton_steps_run_out(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtlbench.solvers.balance.NEWTON_STEPS", 1)
    with pytest.raises(SolverError, match=rf"^{name}: optimality violated by .*cosines \[\["):
        aggregate(name, jacobian(0, 5, 9))


@pytest.mark.parametrize(
    "spec", ["fairgrad[alpha=0]", "nash-mtl[every=0]", "nash-mtl[max_norm=-1]", "pcd[tau=1.5]", "gradvac[beta=2]"]
)
def test_parameters_out_of_range_are_refused(spec: str) -> None:
    with pytest.raises(UsageError, match="should be"):
        get_method(spec)
