"""Surgery on the K task gradients themselves: one backward pass per loss, into rows that are kept across steps."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import torch

from mtlbench.contract.method import Method
from mtlbench.contract.method_input import observe
from mtlbench.contract.method_output import ask_update, ask_weights
from mtlbench.contract.observation import Matrix, Vector
from mtlbench.errors import UsageError
from mtlbench.surgery.delivery import Parcel, rescale
from mtlbench.surgery.heads import HeadGradients, norms_of
from mtlbench.surgery.passes import into_row
from mtlbench.surgery.rows import Rows
from mtlbench.surgery.skipping import RowSkipping
from mtlbench.surgery.step_input import StepInput, StepOutput, head_factors


class GradientStep:
    """Task gradients of one optimizer step, collected over its micro-batches, and the update from them.

    :param method: reads the gradients or their inner products.
    :param accumulate: the number of micro-batches.
    :param skipping: the layers that write their gradients into the rows themselves, if any.
    :param match_sum: rescale every update to the norm of the plain sum Σ gᵢ, in place of the method's own clipping.
    """

    def __init__(
        self,
        method: Method,
        accumulate: int = 1,
        skipping: RowSkipping | None = None,
        *,
        match_sum: bool = False,
    ) -> None:
        self.method, self.accumulate, self.skipping, self.match_sum = method, accumulate, skipping, match_sum
        self.micro = 0
        """The number of micro-batches collected so far."""
        self._heads: HeadGradients | None = None
        self._losses: Vector = np.zeros(0)
        self._overflow = False
        """Whether a head's gradient was not finite, and a gradient scaler will skip the step for it."""
        self._first: tuple[Sequence[int], Rows] | None = None
        """The tasks and the rows of the first micro-batch."""
        self._norms: Vector = np.zeros(0)
        """The shared parameters' norms at the first micro-batch."""

    def restart(self) -> bool:
        """Drop the micro-batches collected so far, and return whether there were any."""
        dropped, self.micro, self._heads, self._first = self.micro, 0, None, None
        return dropped > 0

    def run(self, step: StepInput, rows: Rows) -> StepOutput:
        """Collect one micro-batch's gradients, and after the last one combine them.

        :param step: the micro-batch's losses and graphs.
        :param rows: the rows for them, at least K.
        :raises UsageError: when two losses reach a parameter that is not shared, or processes differ in what they
            reach.
        :raises NotFinite: when a loss or a gradient is not finite and there is no gradient scaler.
        :raises SolverError: see :meth:`Method.weights`.
        :raises CellError: when the method's return value is wrong.
        """
        tasks = len(step.losses.tensors)
        self._same_step(step, rows)
        heads = self.collect(step, rows)
        versions = norms_of(step.parameters) if self.accumulate > 1 else []
        numbers = step.host(*([] if step.scale is None else [step.scale]), *heads.norms(), *versions)
        losses, rest = numbers[:tasks], numbers[tasks if step.scale is None else tasks + 1 :]
        norms, parameters = rest[: len(heads.tasks)], rest[len(heads.tasks) :]
        self._same_parameters(parameters)
        step.check(losses, norms, heads.tasks)
        scale = 1.0 if step.scale is None else float(numbers[tasks])
        if step.scale is not None:
            self._overflow = step.anywhere(not np.isfinite(norms).all()) or (self._overflow and self.micro > 0)
        if self.micro:
            losses = losses + self._losses
            if self._heads is not None:
                heads.merge(self._heads)
        if self.micro + 1 < self.accumulate:
            self._heads, self._losses, self.micro = heads, losses, self.micro + 1
            return StepOutput(step.value(np.ones(tasks), numbers[:tasks]), Parcel([], []), losses)
        output = self._combine(step, rows, heads, losses / self.accumulate, scale)
        self.restart()
        return output

    def _same_step(self, step: StepInput, rows: Rows) -> None:
        """Refuse a micro-batch that cannot be averaged with the first one."""
        if self.micro == 0 or self._first is None:
            self._first = step.losses.positions, rows
        elif self._first != (step.losses.positions, rows):
            raise UsageError(
                f"micro-batch {self.micro + 1} of {self.accumulate} has other tasks, or other shared parameters that "
                "require a gradient, than the first: give all micro-batches of one step the same"
            )

    def _same_parameters(self, norms: Vector) -> None:
        """Refuse a micro-batch when the optimizer has stepped since the first one.

        :param norms: the shared parameters' norms; a fused optimizer leaves no other trace.
        """
        if self.micro and not np.array_equal(norms, self._norms):
            raise UsageError(
                f"the shared parameters changed after {self.micro} of {self.accumulate} micro-batches: step the "
                "optimizer after the last one, and set surgery.accumulate where a step has fewer (as an epoch's last "
                "may)"
            )
        self._norms = norms

    def collect(self, step: StepInput, rows: Rows) -> HeadGradients:
        """Run one pass per loss, write the shared parameters' gradients to the rows, and return the others.

        :param step: the losses and their graphs.
        :param rows: the rows, at least K.
        """
        shared, count = step.parameters, len(step.losses.tensors)
        heads = HeadGradients(step.graph, step.losses.tensors)
        if self.micro == 0:
            rows.open(count, shared)
        for task, (loss, factor) in enumerate(zip(step.losses.tensors, step.loss_factors, strict=True)):
            if self.micro == 0:
                rows.begin(task)
            retain = step.graph.overlap and task < count - 1
            with nullcontext() if self.skipping is None else self.skipping.into(rows, task, shared):
                others = heads.leaves(task)
                gradients = into_row(
                    rows, task, loss, factor, shared, others, retain_graph=retain, reentrant=step.graph.reentrant
                )
            heads.add(task, gradients)
        heads.settle()
        return heads

    def _combine(self, step: StepInput, rows: Rows, heads: HeadGradients, losses: Vector, scale: float) -> StepOutput:
        """Ask the method, and combine the rows: they hold ``scale · accumulate`` times the task gradients' means."""
        method, tasks, unit = self.method, len(losses), scale * self.accumulate
        reached = rows.reached
        step.ranks.same("shared parameters", [float(i in reached) for i in range(len(step.shared))], rows.device)
        rows.average(step.ranks)
        gram = rows.gram() / unit**2
        overflow = step.scale is not None and self._overflow
        if overflow or not np.isfinite(gram).all() or not np.isfinite(losses).all():
            self._refuse_unless_scaled(step, rows, gram)
            nothing = rows.combine(np.full(tasks, np.nan))  # so that the scaler skips this step for certain
            return replace(self._output(step, rows, heads, nothing, losses, None, None), skipped=True)
        weights, target = None, rows.sum_norm() / unit if self.match_sum else None
        matrix = self._matrix(rows, unit) if method.reads == "gradients" else None
        observation = observe(method, losses=losses, gram=gram if matrix is None else None, gradients=matrix)
        if method.returns == "update":
            update = step.ranks.agreed_update(ask_update(method, observation))
            gradients = rows.split(update * unit)
        else:
            weights = step.ranks.agreed(ask_weights(method, observation), rows.device)
            gradients = rows.combine(weights)
            if target is not None and (weights == 1.0).all():
                target = None  # it is the plain sum itself
        limit = None if self.match_sum else method.clip_norm
        factor = rescale(gradients, unit, target=target, clip=limit)
        output = self._output(step, rows, heads, gradients, losses, weights, gram)
        return replace(output, factor=factor, floored=observation.floored)

    def _output(
        self,
        step: StepInput,
        rows: Rows,
        heads: HeadGradients,
        gradients: list[torch.Tensor],
        losses: Vector,
        weights: Vector | None,
        gram: Matrix | None,
    ) -> StepOutput:
        ones = np.ones(len(losses))
        factors = head_factors(self.method, ones if weights is None else weights, losses)
        reached = [
            (leaf, rows.in_layout(i, gradients[i])) for i, leaf in enumerate(step.parameters) if i in rows.reached
        ]
        parcel = Parcel(
            [leaf for leaf, _ in reached] + heads.parameters,
            [gradient for _, gradient in reached] + heads.times(factors),
            owned=len(reached),
            scale=step.scale,
            unscaled=step.graph.half and step.scale is None,
        )
        return StepOutput(step.value(ones if weights is None else weights, losses), parcel, losses, weights, gram)

    def _refuse_unless_scaled(self, step: StepInput, rows: Rows, gram: Matrix) -> None:
        if step.scale is not None:
            return
        task = next(task for task, square in enumerate(np.diagonal(gram)) if not np.isfinite(square))
        culprit = rows.culprit(task)
        name = None if culprit is None else list(step.shared)[culprit]
        raise step.not_finite(task, "gradient", float(np.sqrt(gram[task, task])), name)

    @staticmethod
    def _matrix(rows: Rows, unit: float) -> torch.Tensor:
        matrix = rows.matrix()
        return matrix if unit == 1.0 else matrix / unit
