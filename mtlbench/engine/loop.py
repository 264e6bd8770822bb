"""The loop engine: task gradients by one backward per task, for any torch module."""

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
    """Forward pass and private parameters of one task.

    :param forward: runs the task's forward on one of the step's batches: on batch 0 for the update, on the independent
        batches 1 and 2 for methods that estimate their weights from these.
    :param heads: the parameters that belong to this task only.
    """

    forward: Callable[[int], Forward]
    heads: Sequence[torch.Tensor]


class LoopEngine:
    """Engine that computes the update of the shared parameters task by task.

    For methods that read gradients, it fills a (K, P) buffer, with one task's graph alive at a time. Methods that read
    losses (or the representation's gradients) need no buffer: the K graphs stay alive until the weights are known, as
    in a plain sum. Either way the update is ((w₁g₁ + w₂g₂) + …), with product and sum rounded separately, so the same
    weights give the same bits.

    :param shared: the shared parameters; P is their total size.
    :param last_shared_layer: the shared parameters whose gradients methods such as GradNorm read.
    :param match_sum: rescale every update to the norm of the plain sum Σ gᵢ, whatever the method's native scale.
    :param names: names of parameters, for messages.
    :param processes: the processes that every batch is split over. Each task's gradient is summed over them as soon as
        it is computed, whatever the method reads: K exchanges of P numbers per step.
    :raises UsageError: when a parameter of ``last_shared_layer`` is not shared.
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
        """Factor of the losses in the backward pass, for float16; a step's results are divided by it."""
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

        :param method: gives the weights or the update.
        :param tasks: the K tasks.
        :param measure: compute the full Gram matrix even if the method does not read it; the update stays the same.
        :param retain_graph: retain the graphs, for losses that share one.
        :returns: the step's measurements.
        :raises UsageError: when the method reads the representation and a task has none.
        :raises NotFinite: when a loss or a gradient is not finite.
        :raises CellError: when the method does not return K finite weights, or P finite numbers as its update.
        """
        cross_gram = self._cross_gram(tasks, retain_graph) if method.reads == "cross_gram" else None
        self.update.zero_()
        reads_gradients = method.reads == "gradients" or (method.reads == "gram" and method.gram_of != "representation")
        path = self._from_gradients if reads_gradients or measure or self.match_sum else self._from_losses
        step = path(method, tasks, cross_gram, measure, retain_graph)
        for parameter, view in zip(self.shared, self._update_views, strict=True):
            parameter.grad = view
        return step

    def _from_losses(
        self, method: Method, tasks: Sequence[TaskLoss], cross_gram: Matrix | None, measure: bool, retain_graph: bool
    ) -> Step:
        graphs = [task.forward(0) for task in tasks]
        losses = np.array([self._value_of(graph.loss, index) for index, graph in enumerate(graphs)])
        method_gram = None
        if method.reads == "gram":  # of the representation: other Gram matrices need the gradients
            method_gram = self._gram([self._of_representation(method, graph) for graph in graphs])
        observation = observe(method, losses=losses, gram=method_gram, cross_gram=cross_gram)
        weights = ask_weights(method, observation)
        for index, task in enumerate(tasks):
            shared = self._backward(method, index, task, graphs[index], losses[index], weights[index], retain_graph)
            graphs[index] = Forward(graphs[index].loss.detach())  # frees this task's graph
            if weights[index] != 1.0:  # multiplying by 1 costs a pass over memory and changes no bit
                shared = list(torch._foreach_mul(shared, float(weights[index])))
            torch._foreach_add_(self._update_views, shared)
        factor = rescale(self.update, target=None, clip=method.clip_norm)
        return Step(losses, weights, None, factor, floored=observation.floored)

    def _from_gradients(
        self, method: Method, tasks: Sequence[TaskLoss], cross_gram: Matrix | None, measure: bool, retain_graph: bool
    ) -> Step:
        rows, losses = self._buffer(len(tasks)), np.empty(len(tasks))
        gram_of = method.gram_of if method.reads == "gram" else None
        pieces = []
        for index, task in enumerate(tasks):
            graph = task.forward(0)
            losses[index] = self._value_of(graph.loss, index)
            if gram_of == "representation":
                pieces.append(self._of_representation(method, graph))
            shared = self._backward(method, index, task, graph, losses[index], 1.0, retain_graph)
            torch._foreach_copy_(views(rows[index], self.shared), shared)
        full = gram(rows) if measure or gram_of == "shared" else None
        target = sum_norm(rows) if self.match_sum else None
        if method.returns == "update":
            observation = observe(method, losses=losses, gradients=rows)
            self.update.copy_(ask_update(method, observation))
            factor = rescale(self.update, target=target, clip=method.clip_norm)
            return Step(losses, None, full, factor, floored=observation.floored)
        method_gram = full if gram_of == "shared" else None
        if gram_of == "last_shared_layer":
            method_gram = gram(rows, self.last_columns)
        elif gram_of == "representation":
            method_gram = self._gram(pieces)
        observation = observe(
            method,
            losses=losses,
            gram=method_gram,
            cross_gram=cross_gram,
            gradients=rows if method.reads == "gradients" else None,
        )
        weights = ask_weights(method, observation)
        for index, task in enumerate(tasks):
            self.update.add_(rows[index].mul_(float(weights[index])))
            if method.heads == "weighted":
                torch._foreach_mul_([head.grad for head in task.heads if head.grad is not None], float(weights[index]))
        factor = rescale(self.update, target=target, clip=method.clip_norm)
        return Step(losses, weights, full, factor, floored=observation.floored)

    def _cross_gram(self, tasks: Sequence[TaskLoss], retain_graph: bool) -> Matrix:
        """Return the inner products between the task gradients of batch 1 and those of batch 2."""
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
        """Return the gradients of the shared parameters; write those of the heads to ``.grad``."""
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
        gradient_of = {id(parameter): gradient for parameter, gradient in zip(parameters, gradients, strict=True)}
        culprits = (key for key in self._names if key in gradient_of and not torch.isfinite(gradient_of[key]).all())
        return self._names.get(next(culprits, 0))

    def _buffer(self, tasks: int) -> torch.Tensor:
        if self._rows is None or len(self._rows) != tasks:
            self._rows = self.update.new_empty(tasks, len(self.update))
        return self._rows

    def _value_of(self, loss: torch.Tensor, index: int) -> float:
        """Return the mean of a loss over the processes.

        :raises NotFinite: when it is not finite.
        """
        value = float(self.processes.total(np.array([float(loss.detach())]))[0]) / self.processes.count
        if not np.isfinite(value):
            raise NotFinite(index, "loss", value)
        return value

    def _gram(self, pieces: Sequence[Sequence[tuple[torch.Tensor, torch.Tensor]]]) -> Matrix:
        """Return the inner products of the representation's gradients; those of different processes are orthogonal.

        :raises NotFinite: when a gradient is not finite.
        """
        result = self.processes.total(gram_of_pieces(pieces))
        for index, square in enumerate(np.diagonal(result)):
            if not np.isfinite(square):
                raise NotFinite(index, "gradient", float(square))
        return result

    def _of_representation(self, method: Method, graph: Forward) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Pair the tensors of a task's representation with their gradients, without those that the loss does not reach.

        :raises UsageError: when the task has no representation.
        """
        if not graph.representation:
            raise UsageError(f"method {method.name} reads the gradients of the representation: give representation")
        gradients = torch.autograd.grad(
            self._scaled(graph.loss), graph.representation, retain_graph=True, allow_unused=True
        )
        pieces = []
        for tensor, gradient in zip(graph.representation, gradients, strict=True):
            if gradient is not None:
                pieces.append((tensor, gradient if self.loss_scale == 1.0 else gradient.double() / self.loss_scale))
        return pieces
