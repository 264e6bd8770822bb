"""Check a method inside the engine, on a small network: the gradients of the heads and of the shared parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mtlbench.check.result import Result
from mtlbench.check.robust import EQUAL
from mtlbench.check.subject import Subject
from mtlbench.contract.observation import Vector

if TYPE_CHECKING:
    import torch

STEPS = 4
"""Steps of gradient descent: enough for a method's state to change."""


def heads(subject: Subject) -> Result:
    """Check that every head gets the gradient that the class declares: its own task's plain, weighted or log-loss one.

    The network is tanh(Ax) with K linear heads and squared losses, each task on rows of its own, in double precision.
    If the method returns weights, the shared gradient must be the weighted sum of the tasks' gradients.

    :param subject: the method under test.
    """
    import torch

    from mtlbench.engine.loop import LoopEngine

    method = subject.method()
    declared = type(method).heads
    network = _Network(max(3, method.min_tasks))
    engine = LoopEngine(network.shared, network.shared)
    for step in range(STEPS):
        losses, rows, plain = network.gradients()
        try:
            outcome = engine.step(method, network.tasks())
        except Exception as error:  # a method may raise anything; that is the result
            return Result("heads", False, f"step {step + 1} fails in the engine: {type(error).__name__}: {error}")
        for task, gradient in enumerate(plain):
            if declared == "weighted":
                assert outcome.weights is not None  # only methods with weights can weight the heads
                gradient = gradient * outcome.weights[task]
            elif declared == "log":
                gradient = gradient / losses[task]
            actual = network.heads[task].grad
            if actual is None or not torch.allclose(actual, gradient, rtol=EQUAL, atol=0.0):
                return Result("heads", False, f"step {step + 1}: head {task} does not get its {declared} gradient")
        if outcome.weights is not None:
            expected = torch.from_numpy(outcome.weights) @ rows * outcome.factor
            unit = float((torch.from_numpy(np.abs(outcome.weights)) @ rows.norm(dim=1)) * outcome.factor)
            if float((engine.update - expected).norm()) > EQUAL * (unit or 1.0):
                return Result("heads", False, f"step {step + 1}: the shared update is not Σ wᵢ gᵢ")
        network.descend(0.05)
        if method.reads_after:
            method.after_step(network.gradients()[0])
    return Result("heads", True, f"{declared}, as declared", None, STEPS)


class _Network:
    """A two-layer network with separate inputs for every task and batch, and a fixed seed."""

    def __init__(self, tasks: int) -> None:
        import torch

        draw = torch.Generator().manual_seed(7)

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=draw, dtype=torch.float64)

        self.shared = [(0.5 * normal(5, 4)).requires_grad_()]
        self.heads = [normal(4).requires_grad_() for _ in range(tasks)]
        self.inputs, self.targets = normal(3, tasks, 6, 5), 2.0 + normal(3, tasks, 6)

    def forward(self, task: int, batch: int) -> Any:
        from mtlbench.engine.step import Forward

        features = (self.inputs[batch, task] @ self.shared[0]).tanh()
        return Forward(((features @ self.heads[task] - self.targets[batch, task]) ** 2).mean(), [features])

    def tasks(self) -> list[Any]:
        """Return the tasks in the form that the engine expects."""
        from mtlbench.engine.loop import TaskLoss

        return [
            TaskLoss(lambda batch, task=task: self.forward(task, batch), [head])  # type: ignore[misc]
            for task, head in enumerate(self.heads)
        ]

    def gradients(self) -> tuple[Vector, torch.Tensor, list[torch.Tensor]]:
        """Return (K,) losses, (K, P) shared gradients and K head gradients from plain backpropagation."""
        import torch

        losses = [self.forward(task, 0).loss for task in range(len(self.heads))]
        pairs = [torch.autograd.grad(loss, [*self.shared, head]) for loss, head in zip(losses, self.heads, strict=True)]
        values = np.array([float(loss.detach()) for loss in losses])
        return values, torch.stack([shared.flatten() for shared, _ in pairs]), [head for _, head in pairs]

    def descend(self, lr: float) -> None:
        """Move every parameter by the learning rate along its negative gradient."""
        import torch

        with torch.no_grad():
            for parameter in [*self.shared, *self.heads]:
                assert parameter.grad is not None
                norm = float(parameter.grad.norm()) or 1.0
                parameter -= lr * parameter.grad / norm  # steps of length lr, since the methods' scales differ
