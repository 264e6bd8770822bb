"""The loop engine: task gradients by one backward per task. For any torch module."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mtlbench.contract.method import Method
from mtlbench.contract.method_input import observe
from mtlbench.contract.method_output import ask_update, ask_weights
from mtlbench.contract.observation import FLOOR, Matrix
from mtlbench.engine.flat import columns, views
from mtlbench.engine.norm import rescale, sum_norm
from mtlbench.engine.processes import ALONE, Processes
from mtlbench.engine.step import Forward, NotFinite, Step
from mtlbench.errors import UsageError
from mtlbench.solvers.inner_products import gram, gram_between, gram_of_pieces


@dataclass(frozen=True)
class TaskLoss:
    """One task's part of a step.

    :param forward: runs the task's forward on one of the step's batches: number 0, which the update is for, or 1 and
        2, independent ones that some methods estimate their weights from.
    :param heads: the parameters that belong to this task alone.
    """

    forward: Callable[[int], Forward]
    heads: Sequence[torch.Tensor]


class LoopEngine:
    """Computes the update of the shared parameters, forward and backward task by task.

    Methods that read gradients get a (K, P) buffer, and one task's graph is alive at a time. Methods that read losses
    (or the representation's gradients) need no buffer: the K graphs stay alive until the weights are known, as in a
    plain sum. The update is ((w₁g₁ + w₂g₂) + …), product and sum rounded apart, in both ways: the same weights give
    the same bits.

    :param shared: the shared parameters; P is their total size.
    :param last_shared_layer: those of them that methods such as GradNorm look at.
    :param match_sum: bring every update to the norm of the plain sum Σ gᵢ, whatever the method's native scale.
    :param names: parameters with their names, for messages.
    :param processes: those that every batch is split over. Each task's gradient is added up over them as soon as it is
        there, whatever the method reads: K exchanges of P numbers a step.
    :raises UsageError: when one of those is not among the shared parameters.
    """

    def __init__(
        self,
        shared: Sequence[torch.Tensor],
        last_shared_layer: Sequence[torch.Tensor],
        *,
        match_sum: bool = False,
        names: Iterable[tuple[str, torch.Tensor]] = (),
        processes: Processes = ALONE,
    ) -> None:
        self.shared, self.match_sum, self.processes = list(shared), match_sum, processes
        self._names = {id(parameter): name for name, parameter in names}
        self.loss_scale = 1.0
        """What losses are multiplied with before the backward pass, for float16; nothing that a step gives shows it."""
        self.last_columns = columns(self.shared, last_shared_layer)
        size = sum(parameter.numel() for parameter in self.shared)
        first = self.shared[0]
        self.update = torch.zeros(size, dtype=first.dtype, device=first.device)
        self._update_views = views(self.update, self.shared)
        self._rows: torch.Tensor | None = None

    def step(
        self, method: Method, tasks: Sequence[TaskLoss], *, measure: bool = False, retain_graph: bool = False
    ) -> Step:
        """Fill ``.grad`` of the shared parameters and of every head.

        :param measure: take the full Gram matrix even if the method does not read it. Never changes the update.
        :param retain_graph: for losses that share one graph.
        :raises NotFinite: when a loss or a gradient is not finite.
        :raises CellError: when the method's weights are not K finite numbers, or its update not P.
        """
        cross = self._cross_gram(tasks, retain_graph) if method.reads == "cross_gram" else None
        self.update.zero_()
        reads_gradients = method.reads == "gradients" or (method.reads == "gram" and method.gram_of != "representation")
        path = self._from_gradients if reads_gradients or measure or self.match_sum else self._from_losses
        step = path(method, tasks, cross, measure, retain_graph)
        for parameter, view in zip(self.shared, self._update_views, strict=True):
            parameter.grad = view
        return step

    def _from_losses(
        self, method: Method, tasks: Sequence[TaskLoss], cross: Matrix | None, measure: bool, retain_graph: bool
    ) -> Step:
        graphs = [task.forward(0) for task in tasks]
        losses = np.array([self._value_of(graph.loss, index) for index, graph in enumerate(graphs)])
        read = None
        if method.reads == "gram":  # of the representation: other Gram matrices need the gradients
            read = self._gram([self._of_representation(method, graph) for graph in graphs])
        seen = observe(method, losses=losses, gram=read, cross_gram=cross)
        weights = ask_weights(method, seen)
        for index, task in enumerate(tasks):
            shared = self._backward(method, index, task, graphs[index], losses[index], weights[index], retain_graph)
            graphs[index] = Forward(graphs[index].loss.detach())  # frees this task's graph
            if weights[index] != 1.0:  # a product with 1 costs a pass over memory and changes no bit
                shared = list(torch._foreach_mul(shared, float(weights[index])))
            torch._foreach_add_(self._update_views, shared)
        factor = rescale(self.update, wanted=None, clip=method.clip_norm)
        return Step(losses, weights, None, factor, floored=seen.floored)

    def _from_gradients(
        self, method: Method, tasks: Sequence[TaskLoss], cross: Matrix | None, measure: bool, retain_graph: bool
    ) -> Step:
        rows, losses = self._buffer(len(tasks)), np.empty(len(tasks))
        of = method.gram_of if method.reads == "gram" else None
        pieces = []
        for index, task in enumerate(tasks):
            graph = task.forward(0)
            losses[index] = self._value_of(graph.loss, index)
            if of == "representation":
                pieces.append(self._of_representation(method, graph))
            shared = self._backward(method, index, task, graph, losses[index], 1.0, retain_graph)
            torch._foreach_copy_(views(rows[index], self.shared), shared)
        full = gram(rows) if measure or of == "shared" else None
        total = sum_norm(rows) if self.match_sum else None
        if method.returns == "update":
            seen = observe(method, losses=losses, gradients=rows)
            self.update.copy_(ask_update(method, seen))
            factor = rescale(self.update, wanted=total, clip=method.clip_norm)
            return Step(losses, None, full, factor, floored=seen.floored)
        read = full if of == "shared" else None
        if of == "last_shared_layer":
            read = gram(rows, self.last_columns)
        elif of == "representation":
            read = self._gram(pieces)
        seen = observe(
            method,
            losses=losses,
            gram=read,
            cross_gram=cross,
            gradients=rows if method.reads == "gradients" else None,
        )
        weights = ask_weights(method, seen)
        for index, task in enumerate(tasks):
            self.update.add_(rows[index].mul_(float(weights[index])))
            if method.heads == "weighted":
                torch._foreach_mul_([head.grad for head in task.heads if head.grad is not None], float(weights[index]))
        factor = rescale(self.update, wanted=total, clip=method.clip_norm)
        return Step(losses, weights, full, factor, floored=seen.floored)

    def _cross_gram(self, tasks: Sequence[TaskLoss], retain_graph: bool) -> Matrix:
        """Return the inner products between the task gradients of the batches 1 and 2."""
        first, second = self._buffer(len(tasks)), torch.empty_like(self._buffer(len(tasks)))
        for batch, rows in ((1, first), (2, second)):
            for index, task in enumerate(tasks):
                gradients = self._gradients(index, task.forward(batch).loss, self.shared, retain_graph)
                torch._foreach_copy_(views(rows[index], self.shared), gradients)
        return gram_between(first, second)

    def _backward(
        self,
        method: Method,
        index: int,
        task: TaskLoss,
        graph: Forward,
        loss: float,
        weight: float,
        retain_graph: bool,
    ) -> list[torch.Tensor]:
        """Return the gradients of the shared parameters; put those of the heads into their ``.grad``."""
        gradients = self._gradients(index, graph.loss, [*self.shared, *task.heads], retain_graph)
        factor = {"plain": 1.0, "weighted": float(weight), "log": 1.0 / (loss or FLOOR)}[method.heads]
        for head, gradient in zip(task.heads, gradients[len(self.shared) :], strict=True):
            head.grad = gradient if factor == 1.0 else gradient * factor
        return gradients[: len(self.shared)]

    def _gradients(
        self, index: int, loss: torch.Tensor, parameters: Sequence[torch.Tensor], retain_graph: bool
    ) -> list[torch.Tensor]:
        gradients = torch.autograd.grad(
            self._scaled(loss), parameters, retain_graph=retain_graph, allow_unused=True, materialize_grads=True
        )
        self.processes.add_all(gradients)
        norm = float(torch.stack(torch._foreach_norm(gradients)).norm())
        if not np.isfinite(norm):
            raise NotFinite(index, "gradient", norm, self._culprit(parameters, gradients))
        return list(gradients if self.loss_scale == 1.0 else torch._foreach_div(gradients, self.loss_scale))

    def _scaled(self, loss: torch.Tensor) -> torch.Tensor:
        factor = self.loss_scale / self.processes.count
        return loss if factor == 1.0 else loss * factor

    def _culprit(self, parameters: Sequence[torch.Tensor], gradients: Sequence[torch.Tensor]) -> str | None:
        """Return the name of the first parameter whose gradient is not finite, in the order of the names."""
        of = {id(parameter): gradient for parameter, gradient in zip(parameters, gradients, strict=True)}
        found = (key for key in self._names if key in of and not bool(torch.isfinite(of[key]).all()))
        return self._names.get(next(found, 0))

    def _buffer(self, tasks: int) -> torch.Tensor:
        if self._rows is None or len(self._rows) != tasks:
            self._rows = self.update.new_empty(tasks, len(self.update))
        return self._rows

    def _value_of(self, loss: torch.Tensor, index: int) -> float:
        """Return a loss as a number, the mean over the processes.

        :raises NotFinite: naming the task's position.
        """
        value = float(self.processes.total(np.array([float(loss.detach())]))[0]) / self.processes.count
        if not np.isfinite(value):
            raise NotFinite(index, "loss", value)
        return value

    def _gram(self, pieces: Sequence[Sequence[tuple[torch.Tensor, torch.Tensor]]]) -> Matrix:
        """Return the inner products of the representation's gradients: those of different processes are orthogonal.

        :raises NotFinite: when one is not finite.
        """
        result = self.processes.total(gram_of_pieces(pieces))
        for index, square in enumerate(np.diagonal(result)):
            if not np.isfinite(square):
                raise NotFinite(index, "gradient", float(square))
        return result

    def _of_representation(self, method: Method, graph: Forward) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Return a task's representation with the loss's gradients; what the loss does not reach is left out, as 0."""
        if not graph.representation:
            raise UsageError(f"method {method.name} reads the gradients of the representation: give representation")
        gradients = torch.autograd.grad(
            self._scaled(graph.loss), graph.representation, retain_graph=True, allow_unused=True
        )
        found = []
        for z, gradient in zip(graph.representation, gradients, strict=True):
            if gradient is not None:
                found.append((z, gradient if self.loss_scale == 1.0 else gradient.double() / self.loss_scale))
        return found
