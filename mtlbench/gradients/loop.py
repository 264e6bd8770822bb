"""The loop engine: task gradients by one backward per task. For any torch module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mtlbench.errors import CellError, UsageError
from mtlbench.gradients.gram import gram
from mtlbench.method import Matrix, Method, Observation, Vector


class NotFinite(ArithmeticError):
    """A loss or a gradient of one task is NaN or infinite.

    :param task: the task's position.
    :param what: ``"loss"`` or ``"gradient"``.
    """

    def __init__(self, task: int, what: str, value: float) -> None:
        super().__init__(f"{what} of task {task} is {value}")
        self.task, self.what, self.value = task, what, value


@dataclass(frozen=True)
class TaskLoss:
    """One task's part of a step.

    :param forward: runs the task's forward and returns its scalar loss.
    :param heads: the parameters that belong to this task alone.
    """

    forward: Callable[[], torch.Tensor]
    heads: Sequence[torch.Tensor]


@dataclass(frozen=True)
class Step:
    """What one step measured: (K,) losses and weights, and the (K, K) Gram matrix over all shared parameters.

    The Gram matrix is ``None`` where nobody needed it.
    """

    losses: Vector
    weights: Vector
    gram: Matrix | None


class LoopEngine:
    """Computes the update of the shared parameters, forward and backward task by task.

    Methods that read gradients get a (K, P) buffer, and one task's graph is alive at a time. Methods that read losses
    only need no buffer: the K graphs stay alive until the weights are known, as in a plain sum. The update is
    ((w₁g₁ + w₂g₂) + …), product and sum rounded apart, in both ways: the same weights give the same bits.

    :param shared: the shared parameters; P is their total size.
    :param last_shared_layer: those of them that methods such as GradNorm look at.
    :raises UsageError: when one of those is not among the shared parameters.
    """

    def __init__(self, shared: Sequence[torch.Tensor], last_shared_layer: Sequence[torch.Tensor]) -> None:
        self.shared = list(shared)
        self.last_columns = _columns(self.shared, last_shared_layer)
        size = sum(parameter.numel() for parameter in self.shared)
        first = self.shared[0]
        self.update = torch.zeros(size, dtype=first.dtype, device=first.device)
        self._update_views = _views(self.update, self.shared)
        self._rows: torch.Tensor | None = None

    def step(
        self, method: Method, tasks: Sequence[TaskLoss], *, measure: bool = False, retain_graph: bool = False
    ) -> Step:
        """Fill ``.grad`` of the shared parameters and of every head.

        :param measure: take the full Gram matrix even if the method does not read it. Never changes the update.
        :param retain_graph: for losses that share one graph.
        :raises NotFinite: when a loss or a gradient is not finite.
        :raises CellError: when the method's weights are not K finite numbers.
        """
        self.update.zero_()
        if method.reads == "losses" and not measure:
            step = self._from_losses(method, tasks, retain_graph)
        else:
            step = self._from_gradients(method, tasks, measure, retain_graph)
        for parameter, view in zip(self.shared, self._update_views, strict=True):
            parameter.grad = view
        return step

    def _from_losses(self, method: Method, tasks: Sequence[TaskLoss], retain_graph: bool) -> Step:
        graphs = [task.forward() for task in tasks]
        losses = np.array([_value(loss, index) for index, loss in enumerate(graphs)])
        weights = _weights(method, Observation(losses))
        for index, task in enumerate(tasks):
            gradients = self._backward(method, index, task, graphs[index], weights[index], retain_graph)
            graphs[index] = graphs[index].detach()  # frees this task's graph
            if weights[index] != 1.0:  # a product with 1 costs a pass over memory and changes no bit
                gradients = list(torch._foreach_mul(gradients, float(weights[index])))
            torch._foreach_add_(self._update_views, gradients)
        return Step(losses, weights, None)

    def _from_gradients(self, method: Method, tasks: Sequence[TaskLoss], measure: bool, retain_graph: bool) -> Step:
        if self._rows is None or len(self._rows) != len(tasks):
            self._rows = self.update.new_empty(len(tasks), len(self.update))
        losses = np.empty(len(tasks))
        for index, task in enumerate(tasks):
            loss = task.forward()
            losses[index] = _value(loss, index)
            gradients = self._backward(method, index, task, loss, 1.0, retain_graph)
            torch._foreach_copy_(_views(self._rows[index], self.shared), gradients)
        last = gram(self._rows, self.last_columns) if method.gram_of == "last_shared_layer" else None
        full = gram(self._rows) if measure or last is None else None
        read = full if last is None else last
        weights = _weights(method, Observation(losses, read))
        for index, task in enumerate(tasks):
            self.update.add_(self._rows[index].mul_(float(weights[index])))
            if method.heads == "weighted":
                torch._foreach_mul_([head.grad for head in task.heads if head.grad is not None], float(weights[index]))
        return Step(losses, weights, full)

    def _backward(
        self, method: Method, index: int, task: TaskLoss, loss: torch.Tensor, weight: float, retain_graph: bool
    ) -> list[torch.Tensor]:
        """Return the gradients of the shared parameters; put those of the heads into their ``.grad``."""
        parameters = [*self.shared, *task.heads]
        gradients = torch.autograd.grad(
            loss, parameters, retain_graph=retain_graph, allow_unused=True, materialize_grads=True
        )
        norm = float(torch.stack(torch._foreach_norm(gradients)).norm())
        if not np.isfinite(norm):
            raise NotFinite(index, "gradient", norm)
        for head, gradient in zip(task.heads, gradients[len(self.shared) :], strict=True):
            head.grad = gradient * float(weight) if method.heads == "weighted" else gradient
        return list(gradients[: len(self.shared)])


def _weights(method: Method, seen: Observation) -> Vector:
    """Ask a method for its weights, and check them here, where the culprit is known."""
    weights = np.asarray(method.weights(seen), dtype=np.float64)
    if weights.shape != (seen.tasks,) or not np.isfinite(weights).all():
        raise CellError(f"method {method.name} returned weights {weights.tolist()}, not {seen.tasks} finite numbers")
    return weights


def _value(loss: torch.Tensor, task: int) -> float:
    value = float(loss.detach())
    if not np.isfinite(value):
        raise NotFinite(task, "loss", value)
    return value


def _views(flat: torch.Tensor, like: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Return views of a flat buffer, one shaped like each parameter."""
    pieces = torch.split(flat, [parameter.numel() for parameter in like])
    return [piece.view(parameter.shape) for piece, parameter in zip(pieces, like, strict=True)]


def _columns(shared: Sequence[torch.Tensor], chosen: Sequence[torch.Tensor]) -> list[tuple[int, int]]:
    """Return the ranges of columns that the chosen parameters take in the (K, P) buffer."""
    wanted = {id(parameter) for parameter in chosen}
    ranges, start = [], 0
    for parameter in shared:
        if id(parameter) in wanted:
            ranges.append((start, start + parameter.numel()))
        start += parameter.numel()
    if len(ranges) != len(wanted):
        raise UsageError("last_shared_layer has parameters that are not among the shared ones")
    return ranges
