"""The toy problem: its formulas, gradients, Pareto set and bounds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toy_formulas import published

from mtlbench.errors import UsageError
from mtlbench.plugins.registry import load_registry
from mtlbench.tasks.toy import SETTINGS, Toy


@pytest.mark.parametrize("setting", SETTINGS)
def test_losses_and_gradients_are_those_of_the_published_formulas(setting: str) -> None:
    problem = Toy(setting)  # type: ignore[arg-type]
    points = np.vstack([np.random.default_rng(0).uniform(-11, 11, (300, 2)), [[0, 0], [3, 0], [7, -8], [-7, 8]]])
    losses, gradients = problem.evaluate(points)
    for point, loss, gradient in zip(points, losses, gradients, strict=True):
        leaf = torch.tensor(point, requires_grad=True)
        expected = published(leaf, problem.constants.scale)
        rows = [torch.autograd.grad(value, leaf, retain_graph=True)[0] for value in expected]
        np.testing.assert_allclose(loss, expected.detach().numpy(), rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(gradient, torch.stack(rows).numpy(), rtol=1e-8, atol=1e-10)


def test_values_at_points_computed_by_hand() -> None:
    """Deep in the lower half the factor of the bowls is 1; far up, that of the logarithms."""
    losses, gradients = Toy().evaluate(np.array([[7.0, -48.0], [-9.0, 60.0], [5.0, 60.0], [0.0, 0.0]]))
    np.testing.assert_allclose(losses[0], [16.0 - 20.0, 19.6 + 16.0 - 20.0])
    np.testing.assert_allclose(gradients[0], [[0.0, -0.8], [2.8, -0.8]])
    np.testing.assert_allclose(losses[1], [np.log(2.0) + 6.0, np.log(7.0) + 6.0])  # u = 2, 7
    np.testing.assert_allclose(gradients[1], [[-0.25, 0.0], [-1.0 / 14.0, 0.0]], atol=1e-15)
    assert losses[2, 1] == pytest.approx(np.log(5e-6) + 6.0) and gradients[2, 1, 0] == 0.0  # u = 0: the floor
    np.testing.assert_array_equal(losses[3], 0.0)  # between the halves; u = ∓3.5, q = -14.46
    np.testing.assert_allclose(gradients[3], [[0.0, (np.log(3.5) + 6.0 + 14.46) / 2.0]] * 2)


@pytest.mark.parametrize("setting", SETTINGS)
def test_on_the_pareto_set_the_gradients_are_opposite(setting: str) -> None:
    problem = Toy(setting)  # type: ignore[arg-type]
    front = problem.pareto_set(np.linspace(-6.9, 6.9, 41))
    _, gradients = problem.evaluate(front)
    unit = gradients / np.linalg.norm(gradients, axis=2, keepdims=True)
    np.testing.assert_allclose(unit[:, 0], -unit[:, 1], atol=1e-9)
    assert np.abs(front[:, 1] + 8.4).max() < 0.05
    losses, _ = problem.evaluate(front)
    assert (np.diff(losses[:, 0]) < 0.0).all() and (np.diff(losses[:, 1]) > 0.0).all()  # a front: a trade-off


def test_no_point_is_better_in_both_losses_than_one_of_the_pareto_set() -> None:
    axis = np.linspace(-12.0, 12.0, 161)
    everywhere, _ = Toy().evaluate(np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2))
    for losses in Toy().evaluate(Toy().pareto_set(np.linspace(-7.0, 7.0, 29)))[0]:
        assert not (everywhere < losses - 1e-9).all(axis=1).any()


def test_the_bounds_are_below_the_losses_and_change_no_gradient() -> None:
    problem = Toy("nash")
    points = np.random.default_rng(1).uniform(-11, 11, (10_000, 2))
    assert (problem.evaluate(points)[0] > problem.bounds).all()
    np.testing.assert_allclose(problem.bounds, [-2.1, -21.0])


def test_the_task_has_no_rows() -> None:
    with pytest.raises(UsageError, match="task toy has no rows: run it with mtlbench toy"):
        load_registry().task("toy[setting=nash]").load(None)
