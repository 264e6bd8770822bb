"""Distances, steps of single methods, and assertions that the tests of several methods share."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from families import LOSSES, jacobian, singular

from mtlbench import Matrix, Method, UsageError, Vector, aggregate, get_method, weights
from mtlbench.contract.method_input import observe


def distance(got: Vector, wanted: Vector) -> float:
    """Return the length of the difference, relative to the wanted update."""
    return float(np.linalg.norm(got - wanted) / np.linalg.norm(wanted))


def angle(got: Vector, wanted: Vector) -> float:
    """Return the length of the difference of the unit vectors."""
    return float(np.linalg.norm(got / np.linalg.norm(got) - wanted / np.linalg.norm(wanted)))


def lengths(rows: Matrix) -> Vector:
    """Return the (K,) lengths of the gradients."""
    return np.asarray(np.linalg.norm(rows, axis=1))


def longest(rows: Matrix) -> float:
    """Return the length of the longest gradient."""
    return float(np.linalg.norm(rows, axis=1).max())


def close(got: Vector, wanted: Vector, scale: float, tolerance: float) -> bool:
    """Whether two updates differ by no more than the tolerance times the scale."""
    return bool(np.linalg.norm(got - wanted) <= tolerance * scale)


def residual(method: Method, rows: Matrix, given: Vector | None = None) -> float | None:
    """Return the residual of a method's weights, or of the given ones."""
    observation = observe(method, gram=rows @ rows.T)
    found = method.weights(observation)
    return method.residual(observation, found if given is None else given)


def answer(method: Method, rows: torch.Tensor, losses: Vector | None = None, cross: Matrix | None = None) -> Vector:
    """Give a method all inputs, and return its update or weights as a new array."""
    wide, tasks = rows.double().numpy(), len(rows)
    observation = observe(
        method,
        losses=np.ones(tasks) if losses is None else losses,
        gram=wide @ wide.T,
        cross_gram=np.eye(tasks) if cross is None else cross,
        gradients=rows,
    )
    return (method.update(observation).numpy() if method.returns == "update" else method.weights(observation)).copy()


def step(method: Method, losses: Vector, after: Vector | None = None) -> Vector:
    """Return the weights of one step, and report the losses after the step to methods that read them."""
    got = weights(method, losses=losses)
    if method.reads_after:
        method.after_step(losses / (1 + losses) if after is None else after)
    return got


def assert_conflicts_with_no_task(name: str) -> None:
    for seed in range(3):
        for rows in [*singular(seed), jacobian(seed, 8, 5, 5.0)]:
            update, norms = aggregate(name, rows), lengths(rows)
            along = rows @ update / np.where(norms > 0.0, norms, 1.0)
            assert along.min() >= -1e-7 * (np.abs(weights(name, rows @ rows.T)) @ norms)


def assert_refuses_unknown_main_task(name: str) -> None:
    with pytest.raises(UsageError, match=f"method {name}: main=3 counts from 0, and there are 3 tasks"):
        weights(name, np.eye(3), main=3)
    with pytest.raises(UsageError, match="parameter main=-1"):
        get_method(name, main=-1)


def assert_takes_zero_but_no_negative_loss(name: str) -> None:
    assert np.isfinite(weights(name, losses=[1.0, 0.0])).all()
    with pytest.raises(UsageError, match=rf"method {name} .*-0\.25"):
        weights(name, losses=[1.0, -0.25])


def assert_draws_on_the_simplex(spec: str, tasks: int) -> None:
    """Weights are positive, of sum 1 and mean 1/K, and differ from step to step."""
    method = get_method(spec)
    draws = np.stack([weights(method, losses=np.ones(tasks)) for _ in range(4000)])
    assert (draws >= 0).all()
    assert draws.sum(axis=1) == pytest.approx(1, rel=1e-12)
    assert draws.mean(axis=0) == pytest.approx(1 / tasks, abs=0.02)  # 4 standard errors are .018 or less
    assert tasks == 1 or len(np.unique(draws[:, 0])) == len(draws)


def assert_draws_follow_the_seed(spec: str) -> None:
    one, same, other = (weights(spec, losses=LOSSES, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(one, same) and not np.allclose(one, other)


def assert_generator_is_saved_and_restored(spec: str) -> None:
    first, resumed = get_method(spec, seed=3), get_method(spec)
    step(first, LOSSES)
    resumed.load_state_dict(first.state_dict())
    assert np.array_equal(step(first, LOSSES), step(resumed, LOSSES))


def first_weights(spec: str) -> Vector:
    """Return the first of two weights over 4000 steps."""
    method = get_method(spec)
    return np.array([weights(method, losses=np.ones(2))[0] for _ in range(4000)])
