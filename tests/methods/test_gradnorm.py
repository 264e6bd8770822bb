"""GradNorm: algorithm 1 of the paper, with torch's autograd and Adam."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from families import PUBLISHED

from mtlbench import Observation, aggregate, get_method


def test_published_value() -> None:
    """The first step is the plain sum."""
    assert aggregate("gradnorm", PUBLISHED, losses=[1.0, 1.0]) == pytest.approx([2.0, 2.0, 2.0], abs=1e-4)


def test_gradnorm_second_step_by_hand() -> None:
    """Equal rates: the target is the mean norm, ‖g₁‖ = √18 is below it, ‖g₂‖ above; Adam's first step is ±lr."""
    method = get_method("gradnorm")
    aggregate(method, PUBLISHED, losses=[1.0, 1.0])
    found = aggregate(method, PUBLISHED, losses=[1.0, 1.0])
    assert found == pytest.approx(1.025 * PUBLISHED[0] + 0.975 * PUBLISHED[1], rel=1e-12)


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
        assert method.first_losses.tolist() == [2.0, 4.0]


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
