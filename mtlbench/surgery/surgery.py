"""Gradient surgery for anyone's loop: K losses in, one ordinary loss out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Self

import torch

from mtlbench.contract.method import Method
from mtlbench.contract.method_output import tell_after
from mtlbench.contract.observation import Matrix, Vector
from mtlbench.errors import UsageError, shown
from mtlbench.surgery.arguments import (
    Domain,
    checked_domain,
    checked_method,
    checked_processes,
    checked_scaler,
    count,
    flag,
    given_source,
    head_groups,
    task_names,
)
from mtlbench.surgery.delivery import deliver
from mtlbench.surgery.examination import examine
from mtlbench.surgery.finding import Examination
from mtlbench.surgery.gradient_step import GradientStep
from mtlbench.surgery.layout import layout_of
from mtlbench.surgery.parameters import Source, shared_parameters
from mtlbench.surgery.passes import without_autocast
from mtlbench.surgery.reader import StepReader
from mtlbench.surgery.renewal import Renewal
from mtlbench.surgery.rows import Rows
from mtlbench.surgery.skipping import RowSkipping
from mtlbench.surgery.step_input import StepInput
from mtlbench.surgery.undo import undone_on_error
from mtlbench.surgery.weighted_step import WeightedStep


class Surgery:
    """A method for a training loop of your own, on any torch module.

    :meth:`loss` turns K losses into one scalar tensor. Its ``backward()`` adds the method's update to ``.grad`` of the
    shared parameters, and to every other parameter (the heads) the gradient of the one loss that reaches it. To
    everything else in the loop it is a loss: clipping, schedulers, accumulation, ``GradScaler``,
    ``DistributedDataParallel``, Accelerate, Trainer and Lightning work as with the plain sum.

    >>> import mtlbench, torch
    >>> shared = torch.nn.Parameter(torch.zeros(2))
    >>> surgery = mtlbench.Surgery(shared, "pcgrad", tasks=2)
    >>> losses = [shared[0], shared[1] - shared[0]]  # their gradients, (1, 0) and (-1, 1), conflict
    >>> surgery.loss(losses).backward()
    >>> shared.grad
    tensor([0.5000, 1.5000])
    >>> surgery.weights.tolist()
    [2.0, 1.5]

    It computes one backward pass per loss into K rows of P numbers, which it keeps for the next step. Methods that read
    losses alone cost one joint backward pass, as the plain sum does, and no rows.

    :param shared: the module that all tasks share, or its parameters (with names or without, in lists or alone). A
        parameter that is listed twice counts once; frozen ones are left out as long as they are frozen. A module's
        parameters may be replaced later, as by ``load_state_dict(assign=True)``.
    :param method: a name or spec such as ``"cagrad[c=0.2]"``, or a :class:`mtlbench.Method`.
    :param tasks: K, or the tasks' names; with names, the losses may come as a mapping.
    :param heads: for each task, the parameters (or modules) that belong to it alone, as a list or a mapping by the
        tasks' names. Needed where the graph does not tell: in a model compiled as a whole, or inside reentrant
        checkpoints.
    :param gram_of: the parameters whose gradients' inner products the method reads, in place of the method's own
        choice: ``"shared"``, ``"last_shared_layer"``, or the ``"representation"`` that all losses are computed from
        (as in MGDA-UB). The last two need one backward pass through the shared module in place of K, and are another,
        cheaper method; :attr:`name` says so.
    :param last_shared_layer: the layer, as a module or parameters, for methods or a ``gram_of`` that read it.
    :param renew_every: ask the method for weights at every such step, and use the last weights in between, each time in
        one backward pass. Another, cheaper method too; :attr:`name` says so.
    :param accumulate: the number of micro-batches of one optimizer step. The task gradients are averaged over them
        before the method is asked: surgery on the whole batch, not on every micro-batch. Divide the loss by this number
        as usual.
    :param skip_zero_rows: replace the forward of shared ``Linear`` and ``Embedding`` layers, until :meth:`close`, by
        one whose backward pass skips rows with a gradient of exactly zero, such as padding. Exact, and faster where
        there is padding; on the CPU and without autocast, elsewhere the layers run as they are.
    :param data_parallel: the processes whose task gradients are averaged before the method sees them: ``"auto"``,
        those of the ``DistributedDataParallel`` module that holds the shared parameters; a process group; or ``False``.
    :param scaler: the loop's ``torch.amp.GradScaler``, whose scale the task gradients need in float16. A step that
        overflows is left to it.
    :raises UsageError: naming the argument, when one of them is wrong.
    """

    def __init__(
        self,
        shared: Any,
        method: str | Method = "pcgrad",
        *,
        tasks: int | Sequence[str] | None = None,
        heads: Sequence[Any] | None = None,
        gram_of: Domain | None = None,
        last_shared_layer: Any = None,
        renew_every: int = 1,
        accumulate: int = 1,
        skip_zero_rows: bool = False,
        data_parallel: Any = "auto",
        scaler: Any = None,
    ) -> None:
        source = Source("shared", shared)
        parameters = shared_parameters(source)
        number, names = task_names(tasks)
        self.method = checked_method(method, number)
        """The method, with its state."""
        last = given_source("last_shared_layer", last_shared_layer)
        self._renewal = Renewal(self.method, renew_every)
        self.gram_of: Domain = checked_domain(self.method, gram_of, last)
        """The parameters whose gradients' inner products the method reads."""
        self._reader = StepReader(
            source,
            self.method,
            self.gram_of,
            tasks=number,
            names=names,
            heads=head_groups(heads, number, names, parameters.values()),
            last=last,
            processes=checked_processes(data_parallel),
            scaler=checked_scaler(scaler),
        )
        self._by_gradients, self._by_weights = GradientStep(self.method), WeightedStep(self.method, self.gram_of)
        self.accumulate = accumulate
        skips = flag("skip_zero_rows", skip_zero_rows)
        self.skipping = self._by_gradients.skipping = RowSkipping(self.parameters.values(), shared) if skips else None
        """The layers that skip rows of zeros, if asked for."""
        self.rows: Rows | None = None
        self._skipped = False
        self.losses: Vector | None = None
        """(K,) losses of the last step, of the tasks that were present, averaged over processes."""
        self.weights: Vector | None = None
        """(K,) weights of the last step; ``None`` before the first, and for a method that returns an update."""
        self.gram: Matrix | None = None
        """(K, K) inner products that were computed last; ``None`` if none were."""

    @property
    def parameters(self) -> dict[str, torch.Tensor]:
        """The shared parameters by name, frozen ones included. Those of modules are read anew at every step."""
        return self._reader.parameters

    @property
    def task_names(self) -> Sequence[str] | None:
        """The tasks' names, if they have any; those of the first mapping, where positions matter to the method."""
        return self._reader.names

    @property
    def scaler(self) -> Any:
        """The loop's gradient scaler, if it has one."""
        return self._reader.scaler

    @scaler.setter
    def scaler(self, scaler: Any) -> None:
        self._reader.scaler = checked_scaler(scaler)

    @property
    def renew_every(self) -> int:
        """The number of steps between two requests for weights."""
        return self._renewal.every

    @property
    def accumulate(self) -> int:
        """The number of micro-batches of one optimizer step. Set it where a step has fewer, as an epoch's last may."""
        return self._by_gradients.accumulate

    @accumulate.setter
    def accumulate(self, number: int) -> None:
        number = count("accumulate", number)
        if number > 1 and (self.gram_of != "shared" or self.method.batches > 1 or self.renew_every > 1):
            raise UsageError(
                "accumulate averages whole task gradients: use it without gram_of, renew_every and further="
            )
        if number != self.accumulate and self._by_gradients.micro:
            raise UsageError(
                f"accumulate is changed after {self._by_gradients.micro} of {self.accumulate} micro-batches: change it "
                "before a step's first one"
            )
        self._by_gradients.accumulate = number

    @property
    def name(self) -> str:
        """What is done, in words: the method's spec and every choice that makes it another method."""
        parts = [self.method.spec]
        if self.gram_of != self.method.gram_of:
            parts.append(f"Gram matrix of the {self.gram_of.replace('_', ' ')}")
        if self.renew_every > 1:
            parts.append(f"weights renewed every {self.renew_every} steps")
        return ", ".join(parts)

    def __repr__(self) -> str:
        return f"Surgery({self.name}; {len(self.parameters)} shared parameters)"

    def loss(self, losses: Any, *, representation: Any = None, further: Sequence[Any] = ()) -> torch.Tensor:
        """Return a loss whose ``backward()`` delivers the method's update. Call this once per (micro-)batch.

        The task gradients are computed here; the losses' graphs are free afterwards. Nothing is written before
        ``backward()``, and an error leaves every ``.grad`` and the method as they were (but for a method that keeps
        K × P numbers, whose message says so).

        :param losses: K scalar losses with their graphs, each of which reaches a shared parameter: a list, a mapping by
            the tasks' names, or a (K,) tensor. ``None`` stands for a task without labels in this batch; it is left out
            of this step.
        :param representation: the tensor, or tensors, that all losses are computed from, for
            ``gram_of="representation"``; else it is not used.
        :param further: for SDMGrad and MoDo: K losses on each of two more, independent batches.
        :returns: a scalar tensor: Σ wᵢ Lᵢ, or Σ Lᵢ for a method that returns an update.
        :raises UsageError: when an argument does not fit, or two losses reach a parameter that is not shared. An input
            that requires a gradient and that several losses reach is a warning: it gets no gradient.
        :raises NotFinite: when a loss or a gradient is not finite and there is no ``scaler``.
        :raises SolverError: when a solution fails the method's own optimality conditions.
        :raises CellError: when the method does not return K finite weights, or P finite numbers as its update.
        """
        with undone_on_error(self.method, self._by_gradients), ExitStack() as stack:
            collected = self._by_gradients
            step = self._reader.read(
                losses, representation, further, micro=collected.micro, accumulate=collected.accumulate
            )
            stack.enter_context(without_autocast([*step.losses.tensors, *step.parameters]))
            weights = self._renewal.weights(step.losses.positions)
            if weights is None and self._needs_rows:
                output = self._by_gradients.run(step, self._fitting_rows(step))
            else:
                output = self._by_weights.run(step, weights)
        if self.method.state != "none" or self.renew_every > 1:  # positions of tasks matter from now on
            self._reader.fix_positions(step.losses)
        self.losses, self.gram, self._skipped = output.losses, output.gram, output.skipped
        self.weights = self.weights if output.weights is None else output.weights
        complete = self._by_gradients.micro == 0 and not output.skipped
        self._renewal.record(step.losses.positions, output.weights, complete=complete)
        return deliver(output.value, output.parcel)

    def check(self, losses: Any, *, model: Any = None) -> Examination:
        """Compare every task's gradients on your own batch with those of torch, and say what else there is to know.

        It changes nothing: ``.grad``, random numbers and the method's state stay, and the losses can go to :meth:`loss`
        afterwards. It takes three passes per loss and, for a moment, memory for K rows. With several processes, each
        looks at its own part of the batch.

        >>> import mtlbench, torch
        >>> shared = torch.nn.Parameter(torch.zeros(2))
        >>> surgery = mtlbench.Surgery(shared, "pcgrad", tasks=2)
        >>> print(surgery.check([shared[0], shared[1] - shared[0]]))
        Surgery is right on this batch.
        Largest relative difference from torch.autograd.grad: none.
        The backward pass is deterministic: two runs gave the same bits.
        The losses have graphs of their own.
        Head of task 0: no parameter of its own.
        Head of task 1: no parameter of its own.
        Shared numbers: 2 in float32; the rows take 1.6e-05 MB.
        Norms of the task gradients: 1, 1.41.
        Cosines between them: -0.71; 100% of the pairs conflict.

        :param losses: K scalar losses as for :meth:`loss`.
        :param model: the whole model, so that parameters outside ``shared`` have names.
        :returns: the findings; ``.ok`` tells whether all is well, and ``str()`` says it in words.
        :raises UsageError: when an argument does not fit.
        """
        batch = self._reader.losses(losses)
        scale = 1.0 if self.scaler is None or not self.scaler.is_enabled() else float(self.scaler.get_scale())
        shared, heads = self._reader.trainable(), self._reader.head_groups(batch)
        with without_autocast([*batch.tensors, *shared.values()]):
            return examine(batch, shared, heads=heads, skipping=self.skipping, scale=scale, model=model)

    def after_step(self, losses: Any) -> None:
        """Pass the losses of the same batches after the optimizer's step, for methods that read them (FAMO).

        After a step that the gradient scaler skipped, this does nothing.

        :param losses: K losses as for :meth:`loss`, with or without graphs.
        :raises UsageError: when their number or one of them is wrong.
        """
        values = self._reader.losses(losses, graphs=False)
        like = values.tensors[0]
        numbers = torch.stack([loss.detach().to(like.device, torch.float64) for loss in values.tensors]).cpu().numpy()
        if self._skipped:
            return
        ranks = self._reader.ranks
        with undone_on_error(self.method, self._by_gradients):
            tell_after(self.method, ranks.total(numbers, like) / ranks.count)

    def state_dict(self) -> dict[str, Any]:
        """Return what the next step depends on: the method's state, and the weights in use.

        ``torch.save`` writes it, and ``torch.load`` reads it with its default ``weights_only=True``.
        """
        return {"name": self.method.name, "method": self.method.state_dict(), **self._renewal.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state, so that the next steps are those that would have followed.

        :param state: a return value of :meth:`state_dict`.
        :raises UsageError: when it is something else, or that of another method; then nothing is restored.
        """
        if not isinstance(state, Mapping) or not {"name", "method", "steps", "renewed"} <= set(state):
            raise UsageError("the state is not one that Surgery.state_dict() returned")
        if state["name"] != self.method.name:
            raise UsageError(f"the state is that of method {shown(state['name'])}, but this is {self.method.name}")
        progress = self._renewal.parsed(state)
        self.method.load_state_dict(state["method"])
        self._renewal.restore(*progress)
        self._by_gradients.restart()

    def close(self) -> None:
        """Free the rows, drop micro-batches of an unfinished step, and give replaced layers back their own forward."""
        self.rows = None
        self._by_gradients.restart()
        if self.skipping is not None:
            self.skipping.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def _needs_rows(self) -> bool:
        return self.method.reads == "gradients" or self._reader.reads("shared") or self.accumulate > 1

    def _fitting_rows(self, step: StepInput) -> Rows:
        """Return the rows of earlier steps, or new ones where those do not fit."""
        tables = set() if self.skipping is None else self.skipping.tables
        layout, tasks = layout_of(step.parameters, tables), len(step.losses.tensors)
        if self.rows is None or not self.rows.fit(layout, tasks):
            self.rows = None  # before the new ones take memory
            self.rows = Rows(layout, tasks)
        return self.rows
