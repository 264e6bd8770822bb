"""The engine of problems: surgery's own steps on K losses, with what only the trainer needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from mtlbench.contract.method import Method
from mtlbench.contract.observation import Matrix, Vector
from mtlbench.engine.processes import ALONE, Processes
from mtlbench.engine.scaling import LossScale
from mtlbench.engine.step import NotFinite, Step
from mtlbench.errors import CellError
from mtlbench.problem.forwards import Forward
from mtlbench.surgery.delivery import Parcel, deliver
from mtlbench.surgery.gradient_step import GradientStep
from mtlbench.surgery.graph import Graph, refuse_unreached
from mtlbench.surgery.layout import layout_of
from mtlbench.surgery.losses import TaskLosses
from mtlbench.surgery.passes import into_row
from mtlbench.surgery.ranks import Ranks
from mtlbench.surgery.representation import representation_of
from mtlbench.surgery.rows import Rows
from mtlbench.surgery.step_input import StepInput, StepOutput
from mtlbench.surgery.weighted_step import WeightedStep

Run = Callable[[int, int], Forward]
"""Runs one of a step's batches (0, 1 or 2), or a part of it."""


@dataclass(frozen=True)
class CellRanks(Ranks):
    """The processes of a cell as surgery sees them: exchanges go through :class:`Processes`, which tell a lost one."""

    processes: Processes = field(default=ALONE)

    def _add(self, tensor: torch.Tensor) -> None:
        self.processes.add(tensor)

    def total(self, values: Any, like: torch.Tensor) -> Any:
        return self.processes.total(np.asarray(values, dtype=np.float64))

    def agreed(self, weights: Vector, like: torch.Tensor) -> Vector:
        return self.processes.total(weights if self.processes.rank == 0 else np.zeros_like(weights))

    def agreed_update(self, update: torch.Tensor, what: str = "updates") -> torch.Tensor:
        first = update.clone() if self.processes.rank == 0 else torch.zeros_like(update)
        self.processes.add(first)
        return first


class SurgeryEngine:
    """Engine that runs surgery on the losses of one forward pass, or of one for each task.

    Methods that read losses cost one joint backward pass; those that read all task gradients K passes.

    :param shared: the trained shared parameters, by name.
    :param trained: ids of all trained parameters.
    :param names: names of the tasks.
    :param last: the last shared layer's parameters, for methods that read their gradients.
    :param match_sum: rescale every update to the norm of the plain sum.
    :param scale: the loss scale, in float16.
    :param parts: the parts of every batch that this process computes.
    :param processes: the processes that every batch is split over.
    """

    def __init__(
        self,
        shared: Mapping[str, torch.Tensor],
        trained: Sequence[torch.Tensor],
        names: Sequence[str],
        last: Sequence[torch.Tensor],
        *,
        match_sum: bool = False,
        scale: LossScale | None = None,
        parts: Sequence[int] = (0,),
        processes: Processes = ALONE,
    ) -> None:
        self.shared, self.trained, self.names, self.last = dict(shared), list(trained), list(names), list(last)
        self.match_sum, self.scale, self.parts, self.processes = match_sum, scale, list(parts), processes
        self._ids = {id(parameter) for parameter in self.shared.values()}
        self._trained_ids = {id(parameter) for parameter in self.trained}
        self._ranks = CellRanks(processes.count, processes=processes) if processes.count > 1 else Ranks()
        self._device = next(iter(self.shared.values())).device
        self._method: Method | None = None
        self._rows: Rows | None = None

    def step(self, method: Method, run: Run, *, measure: bool) -> Step:
        """Fill ``.grad`` of every trained parameter that a loss reaches; that of others is ``None``.

        :param method: gives the weights or the update.
        :param run: runs the step's forward passes.
        :param measure: return the Gram matrix of all shared gradients, even if the method does not read it; the update
            stays the same.
        :raises NotFinite: when a loss or a gradient is not finite.
        :raises CellError: when the method's return value is wrong, or losses reach what they did not reach before.
        """
        for parameter in self.trained:
            parameter.grad = None
        self._prepare(method)
        output, gram = self._run(method, run, measure=measure)
        if self.scale is not None:
            if not np.isfinite(output.losses).all():
                task = int(np.argmin(np.isfinite(output.losses)))
                raise NotFinite(task, "loss", float(output.losses[task]))
            if output.skipped:
                self.scale.overflowed()
                return Step(output.losses, None, None, 1.0, skipped=True)
            self.scale.fitted()
        self._deliver(output)
        return Step(output.losses, output.weights, gram, output.factor, floored=output.floored)

    def _prepare(self, method: Method) -> None:
        if method is not self._method:
            self._method = method
            self._by_gradients = GradientStep(method, len(self.parts), match_sum=self.match_sum)
            self._by_weights = WeightedStep(method, method.gram_of, match_sum=self.match_sum)

    def _run(self, method: Method, run: Run, *, measure: bool) -> tuple[StepOutput, Matrix | None]:
        needs_rows = method.reads == "gradients" or (method.reads == "gram" and method.gram_of == "shared")
        if needs_rows or len(self.parts) > 1:
            *earlier, last = self.parts
            for part in earlier:
                self._by_gradients.run(self._read(method, run, part), self._fitting_rows())
            output = self._by_gradients.run(self._read(method, run, last), self._fitting_rows())
            return output, output.gram
        step = self._read(method, run, self.parts[0])
        gram = self._measured(step) if measure else None
        if gram is not None and step.scale is not None and not np.isfinite(gram).all():
            losses = step.host()
            return StepOutput(step.value(np.ones(len(losses)), losses), Parcel([], []), losses, skipped=True), None
        return self._by_weights.run(step), gram

    def _read(self, method: Method, run: Run, part: int) -> StepInput:
        result = run(0, part)
        losses = self._losses(result)
        reads = method.gram_of if method.reads == "gram" else None
        further = [self._losses(run(number, part)) for number in range(1, method.batches)]
        refuse_unreached(losses.tensors, self._ids, self.names)
        graph = Graph.of(losses.tensors, self._ids, labels=self.names)
        representation = representation_of(
            method, result.representation, losses.tensors, self._ids, used=reads == "representation"
        )
        last = self.last if reads == "last_shared_layer" else []
        scale = None if self.scale is None else torch.tensor(self.scale.value, device=self._device)
        return StepInput(losses, graph, self.shared, representation, last, further, scale, self._ranks)

    def _losses(self, result: Forward) -> TaskLosses:
        count = len(result.losses)
        return TaskLosses(result.losses, range(count), count, self.names)

    def _measured(self, step: StepInput) -> Matrix:
        """Return the Gram matrix of all shared gradients, by K passes of its own.

        :raises NotFinite: when a gradient is not finite and there is no loss scale.
        """
        rows = self._fitting_rows()
        rows.open(len(self.names), step.parameters)
        for task, (loss, factor) in enumerate(zip(step.losses.tensors, step.loss_factors, strict=True)):
            rows.begin(task)
            into_row(rows, task, loss, factor, step.parameters, retain_graph=True)
        rows.average(self._ranks)
        gram: Matrix = rows.gram() / (1.0 if self.scale is None else self.scale.value) ** 2
        for task, square in enumerate(np.diagonal(gram)):
            if self.scale is None and not np.isfinite(square):
                culprit = rows.culprit(task)
                raise NotFinite(
                    task, "gradient", float(square), None if culprit is None else list(self.shared)[culprit]
                )
        return gram

    def _fitting_rows(self) -> Rows:
        if self._rows is None:
            self._rows = Rows(layout_of(self.shared.values()), len(self.names))
        return self._rows

    def _deliver(self, output: StepOutput) -> None:
        leaves = output.parcel.leaves
        if not self._trained_ids.issuperset(map(id, leaves)):
            shapes = [tuple(leaf.shape) for leaf in leaves if id(leaf) not in self._trained_ids]
            raise CellError(f"a loss reaches a parameter of shape {shapes[0]} that belongs to another task")
        share = torch.full_like(output.value, 1.0 / len(self.parts))  # the parts' gradients are summed up
        if any(_has_hooks(leaf) for leaf in leaves):
            deliver(output.value, output.parcel).backward(share)  # type: ignore[no-untyped-call]
        else:  # the same, without the way through autograd
            for leaf, gradient in zip(leaves, output.parcel.open(share), strict=True):
                leaf.grad = gradient
        if self.processes.count > 1:
            for leaf in leaves:
                assert leaf.grad is not None
                leaf.grad = leaf.grad.clone()  # two parameters may have one tensor
                self._ranks.mean_([leaf.grad])


def _has_hooks(leaf: torch.Tensor) -> bool:
    return bool(leaf._backward_hooks) or bool(getattr(leaf, "_post_accumulate_grad_hooks", None))
