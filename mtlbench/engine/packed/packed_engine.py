"""The packed engine: one forward and one backward for all tasks, whatever the method reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import torch
from torch import nn

from mtlbench.contract.method import Method
from mtlbench.contract.method_input import observe
from mtlbench.contract.method_output import ask_update, ask_weights
from mtlbench.contract.observation import Matrix, Observation, Vector
from mtlbench.engine.norm import norm_of, rescale
from mtlbench.engine.packed.checks import UNKNOWN_TASK, all_finite, checked, losses_of, values
from mtlbench.engine.packed.joint import Joint
from mtlbench.engine.packed.layout import Layout, Touched
from mtlbench.engine.packed.lean import Lean
from mtlbench.engine.packed.passes import JointForward, Passes
from mtlbench.engine.packed.strategy import Strategy, portions
from mtlbench.engine.packed.tape import Tape
from mtlbench.engine.processes import ALONE, Processes
from mtlbench.engine.step import Forward, NotFinite, Step
from mtlbench.errors import CellError, UsageError
from mtlbench.solvers.inner_products import gram_between


class PackedEngine(Passes):
    """Engine that computes the update of the shared parameters from one backward pass over a pack.

    Task k's loss depends on task k's rows only. So one backward of Σ Lₖ gives the output gradient of every row, and a
    layer's per-task gradients are products of each task's own rows: the work of a plain sum. Weights that do not
    depend on gradients are multiplied onto the rows (:class:`Joint`). Other weights come from a (K, P) buffer
    (:class:`GradientRows`) or, lean, from inner products without a buffer (:class:`Lean`); see :class:`Strategy`.

    :param layout: the shared parameters.
    :param last_shared_layer: the shared parameters whose gradients methods such as GradNorm read.
    :param tape: the tape that the model's layers were installed with.
    :param heads: for each task, the parameters that belong to it only.
    :param match_sum: rescale every update to the norm of the plain sum Σ gᵢ.
    :param strategy: how to compute inner products; with several ``parts``, always through a buffer.
    :param parts: number of packs that every batch is split into, with equally many rows of each task. A step's losses
        and gradients are the means over the parts, and one part's activations are in memory at a time. Methods that
        read losses then need a buffer too, because no weight is known before the last part.
    :param processes: the processes that the parts are spread over. Gradients and losses are summed over them before
        any check or choice, so that all processes take the same path.
    :raises UsageError: when a parameter of ``last_shared_layer`` is not shared.
    """

    def __init__(
        self,
        layout: Layout,
        last_shared_layer: Sequence[nn.Parameter],
        tape: Tape,
        heads: Sequence[Sequence[nn.Parameter]],
        *,
        match_sum: bool = False,
        strategy: Strategy,
        parts: int = 1,
        processes: Processes = ALONE,
    ) -> None:
        super().__init__(layout, tape, heads, parts, processes)
        self.last_shared_layer, self.match_sum = list(last_shared_layer), match_sum
        if not all(parameter in layout for parameter in self.last_shared_layer):
            raise UsageError("last_shared_layer has parameters that are not among the shared ones")
        self.strategy = strategy if parts == 1 else Strategy(lean=False)
        self._touched = Touched()

    def step(self, method: Method, forward: JointForward, *, measure: bool = False) -> Step:
        """Fill ``.grad`` of the shared parameters and of every head.

        :param method: gives the weights or the update.
        :param forward: runs the tasks' forwards on one of the step's batches.
        :param measure: compute the full Gram matrix even if the method does not read it; the update stays the same.
        :returns: the step's measurements.
        :raises UsageError: when the method reads the representation and a task has none.
        :raises NotFinite: when a loss or a gradient is not finite.
        :raises CellError: when the method does not return K finite weights, or P finite numbers as its update.
        """
        try:
            step = self._path(method)(method, forward, measure)
        except NotFinite as error:
            if error.what == "gradient" and self.loss_scale == 1.0:  # otherwise it is an overflow of float16
                self._blame(method, forward)
                if error.task == UNKNOWN_TASK:
                    raise CellError("the update is not finite, though every task's gradient is") from None
            raise
        for parameter in self.layout.shared:
            parameter.grad = self.layout.view(self.update, parameter)
        self.heads.weigh(method, step, self.loss_scale)
        return step

    def _path(self, method: Method) -> Callable[[Method, JointForward, bool], Step]:
        if method.reads == "gradients":
            return self._from_rows
        if method.reads == "gram" and method.gram_of != "representation":
            return self._from_products if self.strategy.lean else self._from_rows
        if self.parts > 1 and (self.match_sum or method.reads == "gram" or method.reads_losses != "no"):
            return self._from_rows  # the weights or the sum's norm depend on all parts
        return self._from_losses

    def _from_losses(self, method: Method, forward: JointForward, measure: bool) -> Step:
        """Ask for the weights, then write the weighted sum in one backward."""
        cross_gram = self._cross_gram(forward) if method.reads == "cross_gram" else None
        joint = weights = collector = observation = None
        losses = []
        for graphs in self._parts(forward, 0):
            losses.append(losses_of(graphs))
            if joint is None or collector is None:  # first part; with several, the method reads no loss
                first = values(losses, self.processes)
                method_gram = checked(self._of_representation(method, graphs)) if method.reads == "gram" else None
                observation = observe(method, losses=first, gram=method_gram, cross_gram=cross_gram)
                weights = ask_weights(method, observation)
                joint = self._joint(weights)
                measured = self.parts == 1 and (measure or self.match_sum)
                collector = Lean(self.layout, self._pack, ahead=joint) if measured else joint
            joint.pack = self._pack
            self._backward(graphs, collector)
        assert joint is not None and observation is not None
        joint.finish()
        self._add_up(self.update, self._touched)
        self._unscale_update()
        full = checked(self._unscaled(collector.gram())) if isinstance(collector, Lean) else None
        if measure and self.parts > 1:  # a second backward: the update keeps the bits of unmeasured steps
            full = checked(self._unscaled(self._collected("step", self._parts(forward, 0)).gram()))
        return self._finished(method, observation, values(losses, self.processes), weights, full)

    def _from_products(self, method: Method, forward: JointForward, measure: bool) -> Step:
        """Run one backward for the inner products, then write the weighted sum from stored rows or in a second pass."""
        last, keeps = method.gram_of == "last_shared_layer", self.strategy.keeps
        full = measure or self.match_sum or not last
        (graphs,) = self._parts(forward if keeps else partial(forward, recompute=True), 0)
        subset = self.last_shared_layer if last else ()
        lean = Lean(self.layout, self._pack, full=full, subset=subset, keeps=keeps)
        self._backward(graphs, lean)
        losses = values([losses_of(graphs)])  # after the backward, so that the device does not wait in between
        full_gram = checked(self._unscaled(lean.gram())) if full else None
        method_gram = checked(self._unscaled(lean.gram_of_subset())) if last else full_gram
        self.heads.check(self.layout.shared[0])
        observation = observe(method, losses=losses, gram=method_gram)
        weights = ask_weights(method, observation)
        if keeps:
            lean.combine(self._joint(weights))
        else:
            del lean  # free its memory before the second pass allocates
            self._second_pass(forward, weights)
        self._unscale_update()
        return self._finished(method, observation, losses, weights, full_gram)

    def _second_pass(self, forward: JointForward, weights: Vector) -> None:
        """Write Σ wₖ gₖ by a forward and backward per portion of the tasks, whose activations take about P numbers."""
        joint = self._joint(weights)
        factors = joint.weights
        self.heads.clear()
        for tasks in portions(self._pack.token_ranges, self.strategy.portion):
            graphs = forward(0, tasks=tasks)
            joint.pack, joint.weights = self._pack, None if factors is None else factors[tasks]
            self._backward(graphs, joint)
        joint.finish()

    def _from_rows(self, method: Method, forward: JointForward, measure: bool) -> Step:
        """Run one backward per part into a (K, P) buffer."""
        cross_gram = self._cross_gram(forward) if method.reads == "cross_gram" else None
        gram_of = method.gram_of if method.reads == "gram" else None
        losses, products = [], []

        def forwards() -> Iterator[list[Forward]]:
            for graphs in self._parts(forward, 0):
                losses.append(losses_of(graphs))
                if gram_of == "representation":
                    products.append(self._of_representation(method, graphs))
                yield graphs

        rows = self._collected("step", forwards())
        mean = values(losses, self.processes)  # before the gradients are checked, so that the error names the loss
        full = checked(self._unscaled(rows.gram())) if measure or self.match_sum or gram_of == "shared" else None
        if full is None:
            all_finite(rows.sums())
        method_gram = full if gram_of == "shared" else None
        if gram_of == "last_shared_layer":
            method_gram = checked(self._unscaled(rows.gram(self.last_shared_layer)))
        elif gram_of == "representation":  # each part has its own representation, orthogonal to the others
            method_gram = checked(self.processes.total(np.sum(products, axis=0)))
        self.heads.check(self.layout.shared[0])
        gradients = rows.buffer if method.reads == "gradients" else None
        if gradients is not None and self.loss_scale != 1.0:
            gradients.mul_(1.0 / self.loss_scale)
        observation = observe(method, losses=mean, gram=method_gram, cross_gram=cross_gram, gradients=gradients)
        weights = None
        if method.returns == "update":
            self.update = self._vector
            self.update.copy_(ask_update(method, observation))
            for table in self.layout.tables:
                self._touched.mark(table, None)
        else:
            weights = ask_weights(method, observation)
            factors = weights if gradients is not None else weights / self.loss_scale
            self.update = rows.combine(factors)
        return self._finished(method, observation, mean, weights, full)

    def _finished(
        self, method: Method, observation: Observation, losses: Vector, weights: Vector | None, full: Matrix | None
    ) -> Step:
        """Rescale the update, and return the step's measurements."""
        target = None
        if self.match_sum:
            assert full is not None
            plain = weights is not None and bool((weights == 1.0).all())
            target = norm_of(self.update) if plain else float(np.sqrt(max(0.0, full.sum())))
        factor = rescale(self.update, target=target, clip=method.clip_norm)
        return Step(losses, weights, full, factor, floored=observation.floored)

    def _cross_gram(self, forward: JointForward) -> Matrix:
        """Return the inner products between the task gradients of batch 1 and those of batch 2."""
        buffers = []
        for number, name in ((1, "first"), (2, "second")):
            rows = self._collected(name, self._parts(forward, number))
            all_finite(rows.sums())
            buffers.append(rows.buffer)
        return self._unscaled(gram_between(*buffers))

    def _unscale_update(self) -> None:
        """Divide an update that :class:`Joint` wrote by the loss scale, and check it.

        This waits for the device, but the step has nothing left to queue: the training loop waits next, for its clock.
        A step also waits for the losses (here before the backward pass, since weights may need them) and, at the end
        of the backward pass, for inner products together with K sums over heads (and over rows, where there is no
        full Gram matrix) and for :meth:`Touched.rows`.
        """
        if self.loss_scale != 1.0:
            self.update.mul_(1.0 / self.loss_scale)
        total = float(self.update.sum())
        if not np.isfinite(total):
            raise NotFinite(UNKNOWN_TASK, "gradient", total)
        self.heads.check(self.layout.shared[0])

    def _joint(self, weights: Vector) -> Joint:
        ones = bool((weights == 1.0).all())  # multiplying by 1 costs a pass over the rows and changes no bit
        self.update = self._vector
        factors = None if ones else torch.from_numpy(weights).to(self.update)
        return Joint(self.layout, self.update, self._touched, self._pack, factors)
