"""Properties of the methods on every matrix: seven families of matrices, from 10⁻¹⁰ to 10¹⁵, and falling losses.

Examples are seeds, not entries: a family's docstring proves the property of its matrices, and hypothesis searches for
the size and the seed that break a claim.
"""

from __future__ import annotations

import itertools
from typing import cast

import numpy as np
import pytest
import torch
from assertions import close, longest, step
from families import CORE, DRAWN, EXACT, LOSS_METHODS, checked, drawn, every_family, every_stateless, examples, series
from hypothesis import given
from hypothesis import strategies as st

from mtlbench import aggregate, backward, get_method, weights
from mtlbench.check.families import Family, non_stationary, normal


@every_family
@pytest.mark.parametrize("name", CORE)
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


@pytest.mark.parametrize("name", CORE)
@checked
@given(seed=st.integers(0, 2**32), size=st.integers(1, 30), exponent=st.integers(-10, 15))
def test_one_task_gets_its_own_direction(name: str, seed: int, size: int, exponent: int) -> None:
    rows = drawn(normal, seed, 1, size) * 10.0**exponent
    length = 1.4 if name == "cagrad" else 1.0  # CAGrad walks on to the edge of its ball, c ‖g‖ beyond the mean
    assert close(aggregate(name, rows, losses=[1.0]), length * rows[0], longest(rows), 1e-9)


def test_methods_differ_on_a_generic_conflict() -> None:
    rows = np.array([[1.0, 0.2, 0.1], [-0.8, 1.0, 0.3], [-0.9, 0.4, -2.0]])
    found = {}
    for name in CORE:
        method = get_method(name)
        for losses in ([1.0, 1.0, 1.0], [1.0, 0.5, 0.2]):  # GradNorm's first step is the sum
            found[name] = aggregate(method, rows, losses=losses)
    found["cagrad of another radius"] = aggregate("cagrad[c=0.8]", rows)
    found["mgda of unit gradients"] = aggregate("mgda[normalize=l2]", rows)
    found["mgda of losses"] = aggregate("mgda[normalize=loss]", rows, losses=[1.0, 0.5, 0.2])
    for (one, first), (other, second) in itertools.combinations(found.items(), 2):
        apart = np.linalg.norm(first / np.linalg.norm(first) - second / np.linalg.norm(second))
        assert apart > 1e-3, f"{one} and {other} point the same way"


@pytest.mark.parametrize("tasks", [1, 2, 5])
@pytest.mark.parametrize(
    ("spec", "total"),
    [
        *[(spec, "mean") for spec in ("mean", "log-sum", "gls", "uw-so", "famo", *DRAWN)],
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


@pytest.mark.parametrize("spec", LOSS_METHODS)
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
    assert unchanged == ("loss-scale invariant" in get_method(spec).properties or (spec, tasks) == ("log-sum", 1))


@pytest.mark.parametrize("spec", EXACT)
def test_order_of_the_tasks(spec: str) -> None:
    one, other, order = get_method(spec), get_method(spec), np.array([2, 0, 1])
    for row in series(60):
        assert step(one, row)[order] == pytest.approx(step(other, row[order]), rel=1e-12)


@pytest.mark.parametrize("spec", LOSS_METHODS)
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
        backward(losses, method, shared)
        found = np.concatenate([cast(torch.Tensor, one.grad).numpy().ravel() for one in shared.parameters()])
        assert found == pytest.approx(wanted, rel=1e-9)
