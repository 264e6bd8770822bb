"""Surgery whose weights are known without the K task gradients: one joint backward pass, as for the plain sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from mtlbench.contract.method import Method, Parameters
from mtlbench.contract.method_input import observe
from mtlbench.contract.method_output import ask_weights
from mtlbench.contract.observation import Matrix, Vector
from mtlbench.errors import UsageError
from mtlbench.solvers.inner_products import gram
from mtlbench.surgery.delivery import Parcel, norm_of, rescale
from mtlbench.surgery.heads import HeadGradients
from mtlbench.surgery.layout import layout_of
from mtlbench.surgery.passes import gradients_of, into_row
from mtlbench.surgery.rows import Rows
from mtlbench.surgery.step_input import StepInput, StepOutput, head_factors

Gradients = list[torch.Tensor | None]


class WeightedStep:
    """Weights from the losses, from a part of the gradients or from an earlier step, and one joint backward pass.

    :param method: returns weights.
    :param gram_of: the parameters whose inner products it reads, if it reads any.
    :param match_sum: rescale every update to the norm of the plain sum Σ gᵢ, in place of the method's own clipping.
    """

    def __init__(self, method: Method, gram_of: Parameters, *, match_sum: bool = False) -> None:
        self.method, self.gram_of, self.match_sum = method, gram_of, match_sum
        self._further: list[Rows] = []

    def run(self, step: StepInput, weights: Vector | None = None) -> StepOutput:
        """Weight the losses and run the joint pass.

        :param step: the losses and their graphs.
        :param weights: (K,) weights of an earlier step to use again; ``None`` to ask the method.
        :raises NotFinite: when a loss or a gradient is not finite and there is no gradient scaler.
        :raises SolverError: see :meth:`Method.weights`.
        :raises CellError: when the method's return value is wrong.
        """
        saved = None if step.scale is None else self.method.state_dict()
        output = self._run(step, weights)
        if saved is not None and output.skipped:  # the method was asked before the gradients were known
            self.method.load_state_dict(saved)
        return output

    def _run(self, step: StepInput, weights: Vector | None) -> StepOutput:
        numbers = step.host(*([] if step.scale is None else [step.scale]))
        tasks, scale = len(step.losses.tensors), 1.0 if step.scale is None else float(numbers[-1])
        losses, products = numbers[:tasks], None
        step.check(losses)
        heads = HeadGradients(step.graph, step.losses.tensors)
        pieces: list[Gradients] = []
        asks_gram = weights is None and self.method.reads == "gram"
        if asks_gram:
            pieces = self._partial(step, heads, self._domain(step))
            products = self._gram(step, pieces) / scale**2
        elif weights is None and self.method.reads == "cross_gram":
            products = self._cross_gram(step) / scale**2
        floored: tuple[int, ...] = ()
        if weights is None:
            weights, floored = self._ask(step, losses, products)
        target = self._sum_norm(step) / scale if self.match_sum and (weights != 1.0).any() else None
        factors = head_factors(self.method, weights, losses)
        if not asks_gram and (factors != weights).any():  # the joint pass would weight the heads too
            self._partial(step, heads, [])
        if asks_gram and self.gram_of == "representation":
            gradients = self._onwards(step, pieces, weights)
        elif asks_gram or (factors != weights).any():
            gradients = self._joint(step, [], weights)
        else:
            leaves = heads.all_leaves
            gradients = self._joint(step, leaves, weights)
            heads.take(leaves, gradients[len(step.shared) :])
            factors = np.ones(tasks)
        output = self._output(
            step, heads, gradients[: len(step.shared)], factors, losses, weights, products, scale, target
        )
        return replace(output, floored=floored)

    def _ask(self, step: StepInput, losses: Vector, products: Matrix | None) -> tuple[Vector, tuple[int, ...]]:
        """Return the method's weights, and the losses of 0 that were replaced; ones where the scaler is about to skip
        the step for what is not finite."""
        if not np.isfinite(losses).all() or (products is not None and not np.isfinite(products).all()):
            if step.scale is None and products is not None:
                task = int(np.argmin(np.isfinite(products).all(axis=1)))
                raise step.not_finite(task, "gradient", float(products[task, task]))
            return np.ones(len(losses)), ()
        observation = observe(
            self.method,
            losses=losses,
            gram=products if self.method.reads == "gram" else None,
            cross_gram=products if self.method.reads == "cross_gram" else None,
        )
        weights = step.ranks.agreed(ask_weights(self.method, observation), step.losses.tensors[0])
        return weights, observation.floored

    def _sum_norm(self, step: StepInput) -> float:
        """Return the norm of the plain sum's gradient, times the scaler's factor, by a joint pass of its own."""
        outputs, reentrant = step.losses.tensors, step.graph.reentrant
        plain = gradients_of(outputs, step.parameters, step.loss_factors, retain_graph=True, reentrant=reentrant)
        gradients = [gradient.clone() for gradient in plain if gradient is not None]
        step.ranks.mean_(gradients)
        return norm_of(gradients)

    def _domain(self, step: StepInput) -> Sequence[torch.Tensor]:
        return step.last if self.gram_of == "last_shared_layer" else step.representation

    def _partial(self, step: StepInput, heads: HeadGradients, inputs: Sequence[torch.Tensor]) -> list[Gradients]:
        """Run K passes that end at the given tensors and at the heads, whose gradients go to ``heads``."""
        pieces = []
        for task, (loss, factor) in enumerate(zip(step.losses.tensors, step.loss_factors, strict=True)):
            targets = [*inputs, *heads.leaves(task)]
            gradients = gradients_of([loss], targets, [factor], retain_graph=True) if targets else []
            heads.add(task, gradients[len(inputs) :])
            pieces.append(gradients[: len(inputs)])
        heads.settle()
        return pieces

    def _gram(self, step: StepInput, pieces: Sequence[Gradients]) -> Matrix:
        """Return the inner products of partial gradients, over the whole batch of all processes."""
        inputs = self._domain(step)
        if self.gram_of == "last_shared_layer":
            rows = Rows(layout_of(inputs), len(pieces))
            for task, gradients in enumerate(pieces):
                if all(gradient is None for gradient in gradients):
                    raise UsageError(f"loss {step.losses.labels[task]} does not reach last_shared_layer")
                for position, gradient in enumerate(gradients):
                    if gradient is not None:
                        rows.receive(task, position, gradient)
                rows.finish(task)
            rows.average(step.ranks)
            return rows.gram()
        products = np.zeros((len(pieces), len(pieces)))
        for tensor, column in zip(inputs, zip(*pieces, strict=True), strict=True):
            flat = [tensor.new_zeros(tensor.numel()) if g is None else g.flatten() for g in column]
            products += gram(torch.stack(flat))
        # the samples of different processes are orthogonal in the representation
        total: Matrix = step.ranks.total(products, inputs[0]) / step.ranks.count**2
        return total

    def _cross_gram(self, step: StepInput) -> Matrix:
        """Return the inner products between the task gradients of the second batch and those of the third."""
        shared, tasks = step.parameters, len(step.losses.tensors)
        layout = layout_of(shared)
        if not self._further or not self._further[0].fit(layout, tasks):
            self._further = [Rows(layout, tasks), Rows(layout, tasks)]
        for rows, batch in zip(self._further, step.further, strict=True):
            for task, loss in enumerate(batch.tensors):
                rows.begin(task)
                into_row(rows, task, loss, step.factor(loss), shared, retain_graph=True)
            rows.average(step.ranks)
        return self._further[0].gram_with(self._further[1])

    def _joint(self, step: StepInput, leaves: Sequence[torch.Tensor], weights: Vector) -> Gradients:
        """Return the gradients of Σ wᵢ Lᵢ for the shared parameters and the given leaves."""
        outputs = step.losses.tensors
        starts: list[torch.Tensor | None] = [
            torch.full_like(loss, weight) * (1.0 if factor is None else factor)  # a fill: the host need not wait
            for weight, loss, factor in zip(weights.tolist(), outputs, step.loss_factors, strict=True)
        ]
        inputs = [*step.parameters, *leaves]
        return gradients_of(outputs, inputs, starts, retain_graph=False, reentrant=step.graph.reentrant)

    def _onwards(self, step: StepInput, pieces: Sequence[Gradients], weights: Vector) -> Gradients:
        """Return the gradients of the shared parameters, from those of the representation onwards."""
        outputs, starts = [], []
        for number, tensor in enumerate(step.representation):
            parts = [
                (w, row[number]) for w, row in zip(weights.tolist(), pieces, strict=True) if row[number] is not None
            ]
            total = torch.zeros_like(tensor)
            for weight, part in parts:
                total.add_(part, alpha=weight)  # type: ignore[arg-type]
            outputs.append(tensor)
            starts.append(total)
        return gradients_of(outputs, step.parameters, starts, retain_graph=False, reentrant=step.graph.reentrant)

    def _output(
        self,
        step: StepInput,
        heads: HeadGradients,
        gradients: Gradients,
        factors: Vector,
        losses: Vector,
        weights: Vector,
        products: Matrix | None,
        scale: float,
        target: float | None,
    ) -> StepOutput:
        reached = [(leaf, g) for leaf, g in zip(step.parameters, gradients, strict=True) if g is not None]
        updates = [gradient for _, gradient in reached]
        limit, factor = None if self.match_sum else self.method.clip_norm, 1.0
        if limit is not None or target is not None:
            updates = [gradient.clone() for gradient in updates]  # torch may give two parameters one tensor
            step.ranks.mean_(updates)
            factor = rescale(updates, scale, target=target, clip=limit)
        finite = step.all_finite([leaf for leaf, _ in reached], updates, heads) and bool(np.isfinite(losses).all())
        if not finite:  # so that the scaler skips this step for certain
            updates = [torch.full_like(gradient, torch.nan) for gradient in updates]
        parcel = Parcel(
            [leaf for leaf, _ in reached] + heads.parameters,
            updates + heads.times(factors),
            scale=step.scale,
            unscaled=step.graph.half and step.scale is None,
        )
        value = step.value(weights, losses)
        return StepOutput(
            value, parcel, losses, weights if finite else None, products, skipped=not finite, factor=factor
        )
