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
from mtlbench.engine.packed.checks import SOME, all_finite, checked, losses_of, values
from mtlbench.engine.packed.head_gradients import gram_of_representation
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
    """Computes the update of the shared parameters from one backward pass over a pack.

    Task k's loss depends on task k's rows only, so one backward of Σ Lₖ gives every row's output gradient, and a
    layer's per-task gradients are products of the tasks' own rows: the work of a plain sum. Weights that do not depend
    on gradients are multiplied onto the rows (:class:`Joint`). Others come from a (K, P) buffer (:class:`Rows`) or,
    lean, from inner products alone (:class:`Lean`); see :class:`Strategy`.

    :param layout: the shared parameters.
    :param last_shared_layer: those of them that methods such as GradNorm look at.
    :param tape: the one that the model's layers were installed with.
    :param heads: for each task, the parameters that belong to it alone.
    :param match_sum: bring every update to the norm of the plain sum Σ gᵢ.
    :param way: whether there is a buffer.
    :param parts: packs that every batch is processed in, of equally many rows of each task: a step's losses and
        gradients are the means over them, and one part's activations are in memory at a time. Methods that read
        losses get a buffer then, since no weight is known before the last part; so do all when lean.
    :param processes: those that the parts are spread over. Every way to a step adds up its gradients and losses over
        them before it looks at any, so that all processes go the same way.
    :raises UsageError: when ``last_shared_layer`` is not among the shared parameters.
    """

    def __init__(
        self,
        layout: Layout,
        last_shared_layer: Sequence[nn.Parameter],
        tape: Tape,
        heads: Sequence[Sequence[nn.Parameter]],
        *,
        match_sum: bool = False,
        way: Strategy,
        parts: int = 1,
        processes: Processes = ALONE,
    ) -> None:
        super().__init__(layout, tape, heads, parts, processes)
        self.last_shared_layer, self.match_sum = list(last_shared_layer), match_sum
        if not all(parameter in layout for parameter in self.last_shared_layer):
            raise UsageError("last_shared_layer has parameters that are not among the shared ones")
        self.way = way if parts == 1 else Strategy(lean=False)
        self._touched = Touched()

    def step(self, method: Method, forward: JointForward, *, measure: bool = False) -> Step:
        """Fill ``.grad`` of the shared parameters and of every head.

        :param measure: take the full Gram matrix even if the method does not read it. Never changes the update.
        :raises NotFinite: when a loss or a gradient is not finite.
        :raises CellError: when the method's weights are not K finite numbers, or its update not P.
        """
        try:
            step = self._path(method)(method, forward, measure)
        except NotFinite as error:
            if error.what == "gradient" and self.loss_scale == 1.0:  # with a scale it is an overflow, nobody's fault
                self._blame(method, forward)
                if error.task == SOME:
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
            return self._from_products if self.way.lean else self._from_rows
        if self.parts > 1 and (self.match_sum or method.reads == "gram" or method.reads_losses != "no"):
            return self._from_rows  # the weights, or the sum's norm, need all parts
        return self._from_losses

    def _from_losses(self, method: Method, forward: JointForward, measure: bool) -> Step:
        """Weights first, then one backward that writes the weighted sum."""
        cross = self._cross_gram(forward) if method.reads == "cross_gram" else None
        joint = weights = collector = seen = None
        losses = []
        for graphs in self._parts(forward, 0):
            losses.append(losses_of(graphs))
            if joint is None or collector is None:  # further parts have no say: the method reads no loss
                first = values(losses, self.processes)
                read = checked(self._of_representation(method, graphs)) if method.reads == "gram" else None
                seen = observe(method, losses=first, gram=read, cross_gram=cross)
                weights = ask_weights(method, seen)
                joint = self._joint(weights)
                looks = self.parts == 1 and (measure or self.match_sum)
                collector = Lean(self.layout, self._pack, ahead=joint) if looks else joint
            joint.pack = self._pack
            self._backward(graphs, collector)
        assert joint is not None and seen is not None
        joint.finish()
        self._add_up(self.update, self._touched)
        self._unscale_update()
        full = checked(self._unscaled(collector.gram())) if isinstance(collector, Lean) else None
        if measure and self.parts > 1:  # once more for the inner products: the update keeps the bits of other steps
            full = checked(self._unscaled(self._collected("step", self._parts(forward, 0)).gram()))
        return self._finished(method, seen, values(losses, self.processes), weights, full)

    def _from_products(self, method: Method, forward: JointForward, measure: bool) -> Step:
        """One backward for the inner products, then the weighted sum: of what was kept, or by a second pass."""
        last, keeps = method.gram_of == "last_shared_layer", self.way.keeps
        everything = measure or self.match_sum or not last
        (graphs,) = self._parts(forward if keeps else partial(forward, recompute=True), 0)
        of = self.last_shared_layer if last else ()
        lean = Lean(self.layout, self._pack, full=everything, of=of, keeps=keeps)
        self._backward(graphs, lean)
        losses = values([losses_of(graphs)])  # only now: so the device need not wait between forward and backward
        full = checked(self._unscaled(lean.gram())) if everything else None
        read = checked(self._unscaled(lean.gram_of_some())) if last else full
        self.heads.check(self.layout.shared[0])
        seen = observe(method, losses=losses, gram=read)
        weights = ask_weights(method, seen)
        if keeps:
            lean.combine(self._joint(weights))
        else:
            del lean  # its memory goes before the second pass takes its own
            self._second_pass(forward, weights)
        self._unscale_update()
        return self._finished(method, seen, losses, weights, full)

    def _second_pass(self, forward: JointForward, weights: Vector) -> None:
        """Write Σ wₖ gₖ by forwards and backwards of some tasks at a time, which keep as much as P numbers."""
        joint = self._joint(weights)
        factors = joint.weights
        self.heads.clear()
        for tasks in portions(self._pack.token_ranges, self.way.portion):
            graphs = forward(0, tasks=tasks)
            joint.pack, joint.weights = self._pack, None if factors is None else factors[tasks]
            self._backward(graphs, joint)
        joint.finish()

    def _from_rows(self, method: Method, forward: JointForward, measure: bool) -> Step:
        """One backward a part into a (K, P) buffer."""
        cross = self._cross_gram(forward) if method.reads == "cross_gram" else None
        of = method.gram_of if method.reads == "gram" else None
        losses, squares = [], []

        def watched() -> Iterator[list[Forward]]:
            for graphs in self._parts(forward, 0):
                losses.append(losses_of(graphs))
                if of == "representation":
                    squares.append(self._of_representation(method, graphs))
                yield graphs

        rows = self._collected("step", watched())
        mean = values(losses, self.processes)  # first: a loss that is not finite is named before its gradient
        full = checked(self._unscaled(rows.gram())) if measure or self.match_sum or of == "shared" else None
        if full is None:
            all_finite(rows.sums())
        read = full if of == "shared" else None
        if of == "last_shared_layer":
            read = checked(self._unscaled(rows.gram(self.last_shared_layer)))
        elif of == "representation":  # parts have representations of their own, orthogonal to one another
            read = checked(self.processes.total(np.sum(squares, axis=0)))
        self.heads.check(self.layout.shared[0])
        whole = rows.buffer if method.reads == "gradients" else None
        if whole is not None and self.loss_scale != 1.0:
            whole.mul_(1.0 / self.loss_scale)
        seen = observe(method, losses=mean, gram=read, cross_gram=cross, gradients=whole)
        weights = None
        if method.returns == "update":
            self.update = self._vector
            self.update.copy_(ask_update(method, seen))
            for table in self.layout.tables:
                self._touched.mark(table, None)
        else:
            weights = ask_weights(method, seen)
            factors = weights if whole is not None else weights / self.loss_scale
            self.update = rows.combine(factors)
        return self._finished(method, seen, mean, weights, full)

    def _finished(
        self, method: Method, seen: Observation, losses: Vector, weights: Vector | None, full: Matrix | None
    ) -> Step:
        wanted = None
        if self.match_sum:
            assert full is not None
            plain = weights is not None and bool((weights == 1.0).all())
            wanted = norm_of(self.update) if plain else float(np.sqrt(max(0.0, full.sum())))
        factor = rescale(self.update, wanted=wanted, clip=method.clip_norm)
        return Step(losses, weights, full, factor, floored=seen.floored)

    def _cross_gram(self, forward: JointForward) -> Matrix:
        """Return the inner products between the task gradients of the batches 1 and 2."""
        buffers = []
        for number, name in ((1, "first"), (2, "second")):
            rows = self._collected(name, self._parts(forward, number))
            all_finite(rows.sums())
            buffers.append(rows.buffer)
        return self._unscaled(gram_between(*buffers))

    def _unscale_update(self) -> None:
        """Bring an update that :class:`Joint` wrote to its own size, and check it.

        This waits for the device, but the step has nothing left to queue: the training loop waits next, for its clock.
        Other waits of a step: for losses (here before the backward pass, as weights may need them), for inner products,
        with K sums of heads and, where there are no inner products over everything, of rows, and for
        :meth:`Touched.rows`, at the end of the backward pass.
        """
        if self.loss_scale != 1.0:
            self.update.mul_(1.0 / self.loss_scale)
        total = float(self.update.sum())
        if not np.isfinite(total):
            raise NotFinite(SOME, "gradient", total)
        self.heads.check(self.layout.shared[0])

    def _blame(self, method: Method, forward: JointForward) -> None:
        """Find task and parameter whose gradient is not finite by a second backward, the same to the last bit.

        :raises NotFinite: naming both, if there are such.
        """
        found = next(self._culprits(forward, method.batches), None)
        places = [place for place in self.processes.gather(found) if place is not None]
        if places:
            _, _, task, value, parameter = min(places)
            raise NotFinite(task, "gradient", value, parameter)

    def _joint(self, weights: Vector) -> Joint:
        ones = bool((weights == 1.0).all())  # a product with 1 costs a pass over the rows and changes no bit
        self.update = self._vector
        factors = None if ones else torch.from_numpy(weights).to(self.update)
        return Joint(self.layout, self.update, self._touched, self._pack, factors)

    def _of_representation(self, method: Method, graphs: list[Forward]) -> Matrix:
        return self._unscaled(gram_of_representation(method, graphs, self._total(graphs)))
