"""The methods that weight losses by the losses alone.

Oracles that share no code with them: values by hand, torch's autograd on each method's objective, torch's own Adam, and
TorchJD's scalarizers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torchjd import scalarization as torchjd

from mtlbench import UsageError, aggregate, backward, get_method, weights
from mtlbench.contract.method import Method, Vector
from mtlbench.contract.observation import FLOOR

EXACT = ["mean", "fixed", "si", "gls", "dwa", "uw", "uw-so", "imtl-l", "stch", "famo"]
DRAWN = ["rlw", "random", "random[distribution=dirichlet]"]
METHODS = [*EXACT, *DRAWN]
BLIND = ["mean", "fixed", *DRAWN]
"""They give weights without the losses' values."""
LOGS = ["si", "gls", "uw-so", "stch", "famo"]
"""They take logarithms or ratios of losses, so a loss of 0 counts as the floor."""
STATEFUL = ["dwa[window=3]", "uw", "imtl-l", "stch[warmup=6]", "famo"]
LOSSES = np.array([0.5, 2.0, 8.0])

Objective = Callable[[torch.Tensor], torch.Tensor]


def series(steps: int, tasks: int = 3, seed: int = 0) -> Vector:
    """Return (steps, K) positive losses that fall, at rates of their own, with noise."""
    draw = np.random.default_rng([seed, tasks])
    rates = draw.uniform(0.0, 0.1, tasks)
    return np.asarray(np.exp(-np.outer(np.arange(steps), rates) + draw.normal(size=(steps, tasks)) / 5) * [0.2, 1, 5])


def step(method: Method, losses: Vector, after: Vector | None = None) -> Vector:
    """Return one step's weights; tell a method that asks for it the losses after the step."""
    got = weights(method, losses=losses)
    if method.reads_after:
        method.after_step(losses / (1 + losses) if after is None else after)
    return got


def gradient(objective: Objective, losses: Vector) -> Vector:
    """Return ∂ objective / ∂ Lᵢ by torch's autograd."""
    leaf = torch.tensor(losses, requires_grad=True)
    objective(leaf).backward()  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    return np.asarray(leaf.grad.numpy())


# Values by hand


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ("mean", [1 / 3, 1 / 3, 1 / 3]),
        ("fixed", [1, 1, 1]),
        ("fixed[w=0.25]", [0.25, 0.25, 0.25]),
        ("fixed[w=2:1:0.5]", [2, 1, 0.5]),
        ("si", [2, 0.5, 0.125]),
        ("gls", [4 / 3, 1 / 3, 1 / 12]),  # the geometric mean is 2
        ("dwa", [1, 1, 1]),
        ("uw", [0.5, 0.5, 0.5]),
        ("uw[form=classification]", [1, 1, 1]),
        ("imtl-l", [1, 1, 1]),
        ("stch", [2, 0.5, 0.125]),
        ("famo", [16 / 21, 4 / 21, 1 / 21]),  # in proportion to 1/L, and of sum 1
    ],
)
def test_first_weights_by_hand(spec: str, wanted: list[float]) -> None:
    assert weights(spec, losses=LOSSES) == pytest.approx(wanted, rel=1e-7)  # 10⁻⁷: FAMO adds 10⁻⁸ to the losses


def test_famo_lower_bound_by_hand() -> None:
    """1/(L + 1) = 2/3, 1/3, 1/9, of sum 10/9."""
    assert weights("famo[minimum=-1]", losses=LOSSES) == pytest.approx([0.6, 0.3, 0.1], rel=1e-7)


def test_uw_so_by_hand() -> None:
    """1/L = 2, 1, 0 up to 10⁻⁹: the softmax of 2, 1, 0, or of 1, ½, 0 at T = 2."""
    losses = np.array([0.5, 1.0, 1e9])
    for temperature in (1.0, 2.0):
        shares = [math.exp(2 / temperature), math.exp(1 / temperature), 1.0]
        got = weights("uw-so", losses=losses, temperature=temperature)
        assert got == pytest.approx([share / sum(shares) for share in shares], rel=1e-8)


@pytest.mark.parametrize("tasks", [1, 2, 5])
@pytest.mark.parametrize(
    ("spec", "total"),
    [
        *[(spec, "mean") for spec in ("mean", "gls", "uw-so", "famo", *DRAWN)],
        *[(spec, "sum") for spec in ("fixed", "si", "dwa", "imtl-l", "stch")],
    ],
)
def test_native_scale(spec: str, total: str, tasks: int) -> None:
    """K equal gradients g and losses of 1: the first update is g or K g."""
    method = get_method(spec)
    assert method.scale == total
    row = np.array([3.0, -4.0])
    got = aggregate(method, np.tile(row, (tasks, 1)), losses=np.ones(tasks))
    assert got == pytest.approx(row * (tasks if total == "sum" else 1), rel=1e-12)


# Objectives: wᵢ is the derivative of the loss that the paper writes down


@pytest.mark.parametrize("tasks", [1, 2, 3, 16])
@pytest.mark.parametrize("seed", range(3))
class TestObjective:
    def losses(self, seed: int, tasks: int) -> Vector:
        return np.asarray(10.0 ** np.random.default_rng([seed, tasks]).uniform(-3, 3, tasks))

    @pytest.mark.parametrize(
        ("spec", "objective"),
        [
            ("mean", lambda losses: losses.mean()),
            ("fixed[w=3]", lambda losses: 3 * losses.sum()),
            ("si", lambda losses: losses.log().sum()),
            ("gls", lambda losses: losses.prod() ** (1 / len(losses))),
            ("stch", lambda losses: losses.log().sum()),
            ("uw", lambda losses: (losses / 2).sum()),
            ("imtl-l", lambda losses: losses.sum()),
        ],
    )
    def test_first_step(self, spec: str, objective: Objective, seed: int, tasks: int) -> None:
        losses = self.losses(seed, tasks)
        assert weights(spec, losses=losses) == pytest.approx(gradient(objective, losses), rel=1e-10)

    def test_gls_against_torchjd(self, seed: int, tasks: int) -> None:
        losses = self.losses(seed, tasks)
        assert weights("gls", losses=losses) == pytest.approx(gradient(torchjd.GeometricMean(), losses), rel=1e-10)

    @pytest.mark.parametrize("temperature", [0.5, 20.0])
    def test_uw_so(self, temperature: float, seed: int, tasks: int) -> None:
        losses = self.losses(seed, tasks)
        wanted = torch.softmax(torch.tensor(1 / losses / temperature), 0).numpy()
        got = weights("uw-so", losses=losses, temperature=temperature)
        assert got == pytest.approx(wanted, rel=1e-9, abs=1e-300)

    @pytest.mark.parametrize("mu", [0.1, 1.0, 3.0])
    def test_stch_after_the_warmup(self, mu: float, seed: int, tasks: int) -> None:
        draw = np.random.default_rng([seed, tasks, 1])
        method, early = get_method("stch", mu=mu, warmup=10), draw.uniform(0.1, 9, (10, tasks))
        for losses in early:
            assert weights(method, losses=losses) == pytest.approx(1 / losses, rel=1e-14)
        nadir = torch.tensor(early[8:].mean(axis=0))  # the last fifth of ten
        losses = draw.uniform(0.1, 9, tasks)

        def objective(leaf: torch.Tensor) -> torch.Tensor:
            return tasks * mu * torch.logsumexp((leaf / nadir).log() / mu, 0)

        for _ in range(2):
            assert weights(method, losses=losses) == pytest.approx(gradient(objective, losses), rel=1e-10)


# Learned numbers: 20 steps beside torch's Adam


def learn(objective: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], lr: float, losses: Vector) -> list[Vector]:
    """Return each step's ∂ objective(L, s) / ∂ Lᵢ, with s trained from 0 by torch's Adam on the same backward pass."""
    s = torch.zeros(losses.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([s], lr=lr)
    got = []
    for row in losses:
        optimizer.zero_grad()
        got.append(gradient(lambda leaf: objective(leaf, s), row))
        optimizer.step()
    return got


@pytest.mark.parametrize("lr", [0.025, 0.4])
@pytest.mark.parametrize(
    ("spec", "objective"),
    [
        ("uw", lambda losses, s: (losses * torch.exp(-s) / 2 + s / 2).sum()),
        ("uw[form=classification]", lambda losses, s: (losses * torch.exp(-s) + s / 2).sum()),
        ("imtl-l", lambda losses, s: (losses * torch.exp(s) - s).sum()),
    ],
)
def test_learned_with_the_network(spec: str, objective: Any, lr: float) -> None:
    losses = series(20)
    method = get_method(spec, lr=lr)
    for row, wanted in zip(losses, learn(objective, lr, losses), strict=True):
        assert weights(method, losses=row) == pytest.approx(wanted, rel=1e-10)


@pytest.mark.parametrize(("spec", "peer"), [("uw", torchjd.UW), ("imtl-l", torchjd.IMTLL)])
def test_learned_against_torchjd(spec: str, peer: Any) -> None:
    losses, scalarizer, method = series(20, seed=1), peer(3).double(), get_method(spec)
    optimizer = torch.optim.Adam(scalarizer.parameters(), lr=0.025)
    for row in losses:
        optimizer.zero_grad()
        assert weights(method, losses=row) == pytest.approx(gradient(scalarizer, row), rel=1e-10)
        optimizer.step()


@pytest.mark.parametrize(
    ("spec", "limit"),
    [("uw", 1 / (2 * LOSSES)), ("uw[form=classification]", 1 / (2 * LOSSES)), ("imtl-l", 1 / LOSSES)],
)
def test_where_constant_losses_lead(spec: str, limit: Vector) -> None:
    method = get_method(spec)
    for _ in range(1500):
        got = weights(method, losses=LOSSES)
    assert got == pytest.approx(limit, rel=1e-3)


@pytest.mark.parametrize("gamma", [0.0, 0.001, 0.5])
@pytest.mark.parametrize("minimum", [0.0, -2.0, 0.01])
def test_famo_step_by_step(gamma: float, minimum: float) -> None:
    """The paper's algorithm on torch tensors: autograd through the softmax, torch's Adam with weight decay."""
    before, after = series(20), series(20, seed=1)
    method = get_method("famo", gamma=gamma, minimum=minimum)
    logits = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.025, weight_decay=gamma)
    for row, later in zip(before, after, strict=True):
        z = torch.softmax(logits, 0)
        factor = 1 / (z / (torch.tensor(row) - minimum + 1e-8)).sum()

        def objective(leaf: torch.Tensor, share: torch.Tensor = (factor * z).detach()) -> torch.Tensor:
            return (share * torch.log(leaf - minimum + 1e-8)).sum()

        got = step(method, row, later)
        assert got == pytest.approx(gradient(objective, row), rel=1e-10)
        assert got.sum() == pytest.approx(1, rel=1e-12)
        gain = torch.tensor(np.log(row - minimum + 1e-8) - np.log(later - minimum + 1e-8))
        optimizer.zero_grad()
        (z @ gain).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def test_famo_against_torchjd() -> None:
    before, after = series(20, seed=2), series(20, seed=3)
    method, scalarizer = get_method("famo"), torchjd.FAMO(3).double()
    for row, later in zip(before, after, strict=True):
        assert step(method, row, later) == pytest.approx(gradient(scalarizer, row), rel=1e-10)
        scalarizer.update(torch.tensor(later))


def test_famo_gives_weight_to_the_task_that_improves_least() -> None:
    method = get_method("famo")
    for _ in range(5):
        got = step(method, np.ones(3), np.array([1.0, 0.9, 0.8]))
    assert got[0] > got[1] > got[2]


@pytest.mark.parametrize(("max_norm", "clip"), [(1.0, 1.0), (0.3, 0.3), (0.0, None)])
def test_famo_clips(max_norm: float, clip: float | None) -> None:
    assert get_method("famo", max_norm=max_norm).clip_norm == clip


# DWA: windows


def test_dwa_by_hand() -> None:
    """Windows of two steps; the third has r = L(2)/L(1), the fourth r = L(3)/L(2)."""
    method = get_method("dwa", window=2)
    rows = np.array([[1, 8], [3, 4], [2, 3], [2, 3], [9, 9], [1, 1], [7, 7]], dtype=np.float64)
    got = [weights(method, losses=row) for row in rows]
    assert np.array_equal(got[:4], np.ones((4, 2)))
    for index, rates in {4: (1, 0.5), 5: (1, 0.5), 6: (2.5, 5 / 3)}.items():
        shares = np.array([math.exp(rate / 2) for rate in rates])
        assert got[index] == pytest.approx(2 * shares / shares.sum(), rel=1e-14)


@pytest.mark.parametrize(("window", "temperature"), [(1, 2.0), (4, 0.3), (25, 2.0)])
def test_dwa_against_torchjd(window: int, temperature: float) -> None:
    scalarizer, method = torchjd.DWA(temperature), get_method("dwa", window=window, temperature=temperature)
    for count, row in enumerate(series(4 * window + 1), start=1):
        got = weights(method, losses=row)
        assert got == pytest.approx(gradient(scalarizer, row), rel=1e-12)
        assert got.sum() == pytest.approx(3, rel=1e-14)
        if count % window == 0:
            scalarizer.step()


# Random weights


@pytest.mark.parametrize("spec", DRAWN)
@pytest.mark.parametrize("tasks", [1, 2, 5])
def test_drawn_weights(spec: str, tasks: int) -> None:
    method = get_method(spec)
    draws = np.stack([weights(method, losses=np.ones(tasks)) for _ in range(4000)])
    assert (draws >= 0).all()
    assert draws.sum(axis=1) == pytest.approx(1, rel=1e-12)
    assert draws.mean(axis=0) == pytest.approx(1 / tasks, abs=0.02)  # 4 standard errors are .018 or less
    assert tasks == 1 or len(np.unique(draws[:, 0])) == len(draws)


def test_distributions() -> None:
    """At K = 2 the logit of softmax(z) is N(0, 2), and a Dirichlet weight is uniform on (0, 1)."""
    from scipy import stats

    def first_weights(spec: str) -> Vector:
        method = get_method(spec)
        return np.array([weights(method, losses=np.ones(2))[0] for _ in range(4000)])

    for spec in ("rlw", "random"):
        w = first_weights(spec)
        assert stats.kstest(np.log(w / (1 - w)), stats.norm(scale=math.sqrt(2)).cdf).pvalue > 0.001
    assert stats.kstest(first_weights("random[distribution=dirichlet]"), "uniform").pvalue > 0.001


@pytest.mark.parametrize("spec", DRAWN)
def test_draws_follow_the_seed(spec: str) -> None:
    one, same, other = (weights(spec, losses=LOSSES, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(one, same) and not np.allclose(one, other)


def test_random_methods_differ() -> None:
    assert not np.allclose(weights("rlw", losses=LOSSES), weights("random", losses=LOSSES))
    assert get_method("rlw").heads == "weighted" and get_method("random").heads == "plain"


# What is declared


@pytest.mark.parametrize("spec", METHODS)
@pytest.mark.parametrize("tasks", [1, 3])
def test_declarations(spec: str, tasks: int) -> None:
    """Homogeneous, linear under scaling, and whether the units of a loss matter."""
    draw = np.random.default_rng(tasks)
    rows, losses, by = draw.normal(size=(tasks, 4)), draw.uniform(0.1, 3, tasks), draw.uniform(0.1, 10, tasks)
    update = aggregate(spec, rows, losses=losses)
    w = weights(spec, losses=losses)
    assert aggregate(spec, 7e-9 * rows, losses=losses) == pytest.approx(7e-9 * update, rel=1e-12)
    assert aggregate(spec, by[:, None] * rows, losses=losses) == pytest.approx((w * by) @ rows, rel=1e-12)
    unchanged = np.allclose(aggregate(spec, by[:, None] * rows, losses=by * losses), update, rtol=1e-9)
    assert unchanged == ("loss-scale invariant" in get_method(spec).properties)


@pytest.mark.parametrize("spec", EXACT)
def test_order_of_the_tasks(spec: str) -> None:
    one, other, order = get_method(spec), get_method(spec), np.array([2, 0, 1])
    for row in series(60):
        assert step(one, row)[order] == pytest.approx(step(other, row[order]), rel=1e-12)


@pytest.mark.parametrize("spec", BLIND)
def test_blind_methods_need_no_losses(spec: str) -> None:
    assert weights(spec, np.eye(4)).shape == (4,)


@pytest.mark.parametrize("spec", METHODS)
def test_heads_follow_the_declaration(spec: str) -> None:
    method = get_method(spec)
    trunk, heads = torch.ones(2, dtype=torch.float64, requires_grad=True), torch.ones(3, 2, dtype=torch.float64)
    leaves = [head.clone().requires_grad_() for head in heads]
    losses = [(trunk * leaf).square().sum() * (1 + i) for i, leaf in enumerate(leaves)]
    used = backward(losses, method, [trunk])
    assert used is not None
    for i, leaf in enumerate(leaves):
        assert leaf.grad is not None
        plain = 2.0 * (1 + i)
        assert leaf.grad.numpy() == pytest.approx(plain * (used[i] if method.heads == "weighted" else 1.0), rel=1e-12)


# State


@pytest.mark.parametrize("spec", STATEFUL)
@pytest.mark.parametrize("cut", [1, 4, 11])
def test_state_is_saved_and_restored(spec: str, cut: int) -> None:
    losses, first, resumed = series(20), get_method(spec), get_method(spec)
    for row in losses[:cut]:
        step(first, row)
    resumed.load_state_dict(first.state_dict())
    for row in losses[cut:]:
        assert np.array_equal(step(first, row), step(resumed, row))


@pytest.mark.parametrize("spec", DRAWN)
def test_generator_is_saved_and_restored(spec: str) -> None:
    first, resumed = get_method(spec, seed=3), get_method(spec)
    step(first, LOSSES)
    resumed.load_state_dict(first.state_dict())
    assert np.array_equal(step(first, LOSSES), step(resumed, LOSSES))


@pytest.mark.parametrize("spec", STATEFUL)
def test_saved_state_is_a_copy(spec: str) -> None:
    losses, method = series(12), get_method(spec)
    for row in losses[:5]:
        step(method, row)
    saved = method.state_dict()
    rest = [step(method, row) for row in losses[5:]]
    method.load_state_dict(saved)
    assert np.array_equal([step(method, row) for row in losses[5:]], rest)


@pytest.mark.parametrize("spec", METHODS)
def test_given_losses_stay_as_they_are(spec: str) -> None:
    method, losses = get_method(spec), LOSSES.copy()
    given = step(method, losses)
    kept = given.copy()
    step(method, losses)
    assert np.array_equal(losses, LOSSES) and np.array_equal(given, kept)


# Extremes and errors


@pytest.mark.parametrize("spec", METHODS)
def test_finite_for_losses_far_apart(spec: str) -> None:
    method = get_method(spec)
    for losses in ([1e-12, 1.0, 1e12], [1e-300, 1e-300, 1e-300], [1e15, 1e15, 1e-15]):
        for _ in range(30):
            got = step(method, np.array(losses))
            assert np.isfinite(got).all() and (got >= 0.0).all()


def test_gls_does_not_underflow() -> None:
    """The product of 64 losses of 10⁻¹⁰ is 10⁻⁶⁴⁰."""
    assert weights("gls", losses=np.full(64, 1e-10)) == pytest.approx(1 / 64, rel=1e-12)


@pytest.mark.parametrize("spec", METHODS)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_losses_that_are_not_finite(spec: str, bad: float) -> None:
    with pytest.raises(UsageError, match=rf"{get_method(spec).name}.*{bad}"):
        weights(spec, losses=[1.0, bad])


@pytest.mark.parametrize("spec", LOGS)
def test_negative_losses_have_no_logarithm(spec: str) -> None:
    with pytest.raises(UsageError, match=rf"{spec}.*-0\.25"):
        weights(spec, losses=[1.0, -0.25])


@pytest.mark.parametrize("spec", LOGS)
@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_a_loss_of_zero_counts_as_the_floor(spec: str, zero: float) -> None:
    wanted = weights(spec, losses=[1.0, FLOOR])
    if spec == "famo":  # whose own formula adds the floor to every loss
        wanted = np.array([1 / (1 + FLOOR), 1 / FLOOR]) / (1 / (1 + FLOOR) + 1 / FLOOR)
    assert weights(spec, losses=[1.0, zero]) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("spec", ["si", "stch"])
def test_positive_losses_below_the_floor_count_as_they_are(spec: str) -> None:
    assert weights(spec, losses=[1.0, 1e-12]).tolist() == [1.0, 1e12]


@pytest.mark.parametrize(
    "spec",
    [*EXACT, "dwa[window=1]", "dwa[window=3]", "stch[warmup=2]", "famo[minimum=-0.5]", "uw[form=classification]"],
)
@pytest.mark.parametrize("zeros", [[2], [0, 1, 2]])
@pytest.mark.parametrize("first", [0, 1, 4])
def test_losses_of_zero_from_any_step_on(spec: str, zeros: list[int], first: int) -> None:
    losses = series(12)
    losses[first:, zeros] = 0.0
    method = get_method(spec)
    for row in losses:
        assert np.isfinite(step(method, row, row * 0.9)).all()


def test_dwa_takes_the_ratio_to_a_mean_of_zero() -> None:
    method = get_method("dwa", window=1)
    for losses in ([1.0, 0.0], [1.0, 0.5]):
        weights(method, losses=losses)
    assert weights(method, losses=[1.0, 0.5]) == pytest.approx([0.0, 2.0], abs=1e-12)


def test_famo_after_a_step_to_zero_by_hand() -> None:
    """δ = log(1 + 10⁻⁸) − log(10⁻⁸) = 18.4 for the task whose loss went to 0: the other one gains weight."""
    method = get_method("famo", gamma=0.0)
    weights(method, losses=[1.0, 1.0])
    method.after_step(np.array([0.0, 1.0]))
    delta = math.log1p(FLOOR) - math.log(FLOOR)
    slope = 0.5 * np.array([delta - delta / 2, -delta / 2])
    assert method.state_dict()["adam"]["mean"] == pytest.approx(0.1 * slope)
    assert method.logits == pytest.approx([-0.025, 0.025])  # Adam's first step


@pytest.mark.parametrize("spec", ["uw", "imtl-l"])
def test_learned_weights_take_zero_but_no_negative_loss(spec: str) -> None:
    assert np.isfinite(weights(spec, losses=[1.0, 0.0])).all()
    with pytest.raises(UsageError, match=rf"method {spec} .*-0\.25"):
        weights(spec, losses=[1.0, -0.25])


@pytest.mark.parametrize("spec", sorted({*METHODS} - {*BLIND}))
def test_losses_are_missing(spec: str) -> None:
    with pytest.raises(UsageError, match=rf"method {spec} reads the losses: give losses"):
        weights(spec, np.eye(2))


def test_dwa_needs_mean_losses_that_are_not_negative() -> None:
    method = get_method("dwa", window=2)
    weights(method, losses=[1.0, 0.0])
    with pytest.raises(UsageError, match=r"method dwa .*2 steps.*\[1\.5, -0\.5\]"):
        weights(method, losses=[2.0, -1.0])


@pytest.mark.parametrize("w", ["", "2:", "a", "1:0", "-1", "inf", "nan:1", "1e999", "1;2"])
def test_fixed_weights_that_are_no_positive_numbers(w: str) -> None:
    with pytest.raises(UsageError, match=r"method fixed: parameter w=.* should be positive numbers"):
        get_method("fixed", w=w)


def test_fixed_weights_of_another_number_of_tasks() -> None:
    with pytest.raises(UsageError, match="method fixed: w=2:1 has 2 numbers for 3 tasks"):
        weights("fixed[w=2:1]", losses=LOSSES)


def test_fixed_spec_reads_back() -> None:
    method = get_method("fixed[w=2:1:0.50]")
    assert method.spec == "fixed[w=2:1:0.50]" and get_method(method.spec) == method


@pytest.mark.parametrize(
    "spec",
    [
        *["dwa[window=0]", "dwa[temperature=0]", "uw[lr=0]", "uw[form=l1]", "uw-so[temperature=-1]", "imtl-l[lr=-1]"],
        *["stch[mu=0]", "stch[warmup=0]", "famo[gamma=-1]", "famo[max_norm=-1]", "famo[minimum=nan]"],
        "random[distribution=uniform]",
    ],
)
def test_parameters_out_of_range(spec: str) -> None:
    with pytest.raises(UsageError, match=rf"method {spec.split('[')[0]}: parameter"):
        get_method(spec)


def test_famo_wants_to_hear_of_every_step() -> None:
    method = get_method("famo")
    with pytest.raises(UsageError, match="method famo: after_step was called without a step before it"):
        method.after_step(LOSSES)
    weights(method, losses=LOSSES)
    with pytest.raises(UsageError, match=r"method famo: call method\.after_step\(losses\)"):
        weights(method, losses=LOSSES)
    method.after_step(LOSSES)
    with pytest.raises(UsageError, match="without a step before it"):
        method.after_step(LOSSES)


@pytest.mark.parametrize("after", [[1.0], [1.0, 1.0, math.nan], [1.0, 1.0, -0.5]])
def test_famo_after_step_refuses(after: list[float]) -> None:
    method = get_method("famo")
    weights(method, losses=LOSSES)
    with pytest.raises(UsageError, match=rf"method famo: after_step takes 3 finite losses .*{after[-1]}"):
        method.after_step(np.array(after))


def test_famo_loss_below_its_bound() -> None:
    with pytest.raises(
        UsageError, match=r"method famo: losses must be at least minimum=0\.6, got \[0\.5, 2\.0, 8\.0\]"
    ):
        weights("famo", losses=LOSSES, minimum=0.6)
    at_its_bound = weights("famo", losses=LOSSES, minimum=0.5)
    assert at_its_bound == pytest.approx(weights("famo", losses=LOSSES - 0.5), rel=1e-12)


def test_saved_between_step_and_after_step() -> None:
    first, resumed = get_method("famo"), get_method("famo")
    weights(first, losses=LOSSES)
    resumed.load_state_dict(first.state_dict())
    for method in (first, resumed):
        method.after_step(LOSSES / 2)
    assert np.array_equal(step(first, LOSSES), step(resumed, LOSSES))
