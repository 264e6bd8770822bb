"""Gradient surgery for anyone's loop: K losses in, one ordinary loss out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Self

import torch

from mtlbench.contract.method import Method
from mtlbench.contract.method_output import tell_after
from mtlbench.contract.observation import Matrix, Vector
from mtlbench.contract.state_codec import flatten, unflatten
from mtlbench.errors import UsageError, one_line
from mtlbench.surgery.arguments import (
    Domain,
    checked_domain,
    checked_method,
    checked_processes,
    checked_scaler,
    count,
    flag,
    head_groups,
    progress,
    task_names,
)
from mtlbench.surgery.delivery import deliver
from mtlbench.surgery.examination import examine
from mtlbench.surgery.finding import Examination
from mtlbench.surgery.gradient_step import GradientStep
from mtlbench.surgery.graph import Graph, refuse_unreached
from mtlbench.surgery.layout import layout_of
from mtlbench.surgery.losses import TaskLosses, all_or_independent, further_losses, task_losses
from mtlbench.surgery.parameters import Source, shared_parameters
from mtlbench.surgery.passes import without_autocast
from mtlbench.surgery.ranks import Ranks
from mtlbench.surgery.representation import representation_of
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
        self._source = Source("shared", shared)
        self.parameters = shared_parameters(self._source)
        """The shared parameters by name, frozen ones included. Those of modules are read anew at every step."""
        self.task_names: Sequence[str] | None
        self._tasks, self.task_names = task_names(tasks)
        """The tasks' names, if they have any; those of the first mapping, where positions matter to the method."""
        self.method = checked_method(method, self._tasks)
        """The method, with its state."""
        self.scaler = checked_scaler(scaler)
        """The loop's gradient scaler."""
        self._heads = head_groups(heads, self._tasks, self.task_names, self.parameters.values())
        self.renew_every = count("renew_every", renew_every)
        self._last = None if last_shared_layer is None else Source("last_shared_layer", last_shared_layer)
        self.gram_of: Domain = checked_domain(self.method, gram_of, self._last)
        """The parameters whose gradients' inner products the method reads."""
        self._check()
        self._by_gradients = GradientStep(self.method)
        self.accumulate = accumulate
        skips = flag("skip_zero_rows", skip_zero_rows)
        self._data_parallel = checked_processes(data_parallel)
        self._ranks: Ranks | None = None
        self.skipping = RowSkipping(self.parameters.values(), shared) if skips else None
        """The layers that skip rows of zeros, if asked for."""
        self.rows: Rows | None = None
        self._by_gradients.skipping = self.skipping
        self._by_weights = WeightedStep(self.method, self.gram_of)
        self._steps, self._skipped = 0, False
        self._renewed: tuple[Sequence[int], Vector] | None = None
        self.losses: Vector | None = None
        """(K,) losses of the last step, of the tasks that were present, averaged over processes."""
        self.weights: Vector | None = None
        """(K,) weights of the last step; ``None`` before the first, and for a method that returns an update."""
        self.gram: Matrix | None = None
        """(K, K) inner products that were computed last; ``None`` if none were."""

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
            step = self._input(losses, representation, further)
            stack.enter_context(without_autocast([*step.losses.tensors, *step.parameters]))
            present = step.losses.positions
            again = self._renewed if self._steps % self.renew_every else None
            weights = None if again is None or again[0] != present else again[1]
            if weights is None and self._needs_rows:
                output = self._by_gradients.run(step, self._fitting_rows(step))
            else:
                output = self._by_weights.run(step, weights)
        if self.method.state != "none" or self.renew_every > 1:  # positions of tasks matter from now on
            self._tasks, self.task_names = step.losses.tasks, step.losses.names or self.task_names
        self.losses, self.gram, self._skipped = output.losses, output.gram, output.skipped
        if output.weights is not None:
            self.weights = output.weights
            self._renewed = (present, output.weights)
        self._steps += self._by_gradients.micro == 0 and not output.skipped
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
        batch = task_losses(losses, self.task_names, tasks=self._tasks)
        scale = 1.0 if self.scaler is None or not self.scaler.is_enabled() else float(self.scaler.get_scale())
        shared, heads = self._trainable(), self._groups(batch)
        with without_autocast([*batch.tensors, *shared.values()]):
            return examine(batch, shared, heads=heads, skipping=self.skipping, scale=scale, model=model)

    def after_step(self, losses: Any) -> None:
        """Pass the losses of the same batches after the optimizer's step, for methods that read them (FAMO).

        After a step that the gradient scaler skipped, this does nothing.

        :param losses: K losses as for :meth:`loss`, with or without graphs.
        :raises UsageError: when their number or one of them is wrong.
        """
        values = task_losses(losses, self.task_names, tasks=self._tasks, graphs=False)
        like = values.tensors[0]
        numbers = torch.stack([loss.detach().to(like.device, torch.float64) for loss in values.tensors]).cpu().numpy()
        if self._skipped:
            return
        ranks = self._ranks or Ranks()
        with undone_on_error(self.method, self._by_gradients):
            tell_after(self.method, ranks.total(numbers, like) / ranks.count)

    def state_dict(self) -> dict[str, Any]:
        """Return what the next step depends on: the method's state, and the weights in use.

        ``torch.save`` writes it, and ``torch.load`` reads it with its default ``weights_only=True``.
        """
        renewed = None if self._renewed is None else [list(self._renewed[0]), self._renewed[1].tolist()]
        own = {"name": self.method.name, "method": self.method.state_dict(), "steps": self._steps, "renewed": renewed}
        data, tensors = flatten(own)
        return {"data": data, "tensors": tensors}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state, so that the next steps are those that would have followed.

        :param state: a return value of :meth:`state_dict`.
        :raises UsageError: when it is something else, or that of another method; then nothing is restored.
        """
        fault = UsageError("the state is not one that Surgery.state_dict() returned")
        try:
            own = unflatten(state["data"], state["tensors"])
            name, steps, renewed = own["name"], own["steps"], own["renewed"]
        except Exception as error:  # a file may hold anything
            raise fault from error
        if name != self.method.name:
            raise UsageError(f"the state is that of method {one_line(str(name), 60)}, but this is {self.method.name}")
        steps, renewed = progress(steps, renewed)
        self.method.load_state_dict(own.get("method"))
        self._steps, self._renewed = steps, renewed
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
        return self.method.reads == "gradients" or self._reads("shared") or self.accumulate > 1

    def _fitting_rows(self, step: StepInput) -> Rows:
        """Return the rows of earlier steps, or new ones where those do not fit."""
        tables = set() if self.skipping is None else self.skipping.tables
        layout, tasks = layout_of(step.parameters, tables), len(step.losses.tensors)
        if self.rows is None or self.rows.layout != layout or self.rows.tasks < tasks:
            self.rows = None  # before the new ones take memory
            self.rows = Rows(layout, tasks)
        return self.rows

    def _input(self, losses: Any, representation: Any, further: Any) -> StepInput:
        """Validate the arguments of :meth:`loss`."""
        if torch.is_inference_mode_enabled():
            raise UsageError("Surgery.loss() runs backward passes: call it outside torch.inference_mode()")
        batch = task_losses(losses, self.task_names, tasks=self._tasks)
        all_or_independent(self.method, batch)
        shared = self._trainable()
        ids = {id(parameter) for parameter in shared.values()}
        heads = self._groups(batch)
        refuse_unreached(batch.tensors, ids, batch.labels)
        if self._ranks is None:
            self._ranks = Ranks.of(shared.values(), self._data_parallel)
        present = [float(position in batch.positions) for position in range(batch.tasks)]
        self._ranks.same("losses", present, batch.tensors[0])
        graph = Graph.of(batch.tensors, ids, heads, batch.labels)
        if graph.reentrant and self._ranks.synchronizes:
            raise UsageError(
                "a reentrant checkpoint runs DistributedDataParallel's hooks in every backward pass: use "
                "use_reentrant=False"
            )
        if self.accumulate > 1 and self._ranks.synchronizes and self._by_gradients.micro < self.accumulate - 1:
            raise UsageError(
                f"micro-batch {self._by_gradients.micro + 1} of {self.accumulate} would synchronize gradients: run all "
                "but the last under model.no_sync()"
            )
        return StepInput(
            batch,
            graph,
            shared,
            representation_of(self.method, representation, batch.tensors, ids, used=self._reads("representation")),
            self._last_layer() if self._reads("last_shared_layer") else [],
            further_losses(further, batch, self.method),
            self._scale(batch.tensors[0]),
            self._ranks,
        )

    def _trainable(self) -> dict[str, torch.Tensor]:
        """Read the shared parameters anew, and return those that require a gradient."""
        self.parameters = self._source.read()
        shared = {name: parameter for name, parameter in self.parameters.items() if parameter.requires_grad}
        if not shared:
            raise UsageError("no shared parameter requires a gradient any more: unfreeze some")
        return shared

    def _groups(self, batch: TaskLosses) -> list[list[torch.Tensor]] | None:
        """Return the parameters that the user named for each task that is present."""
        if self._heads is None:
            return None
        if len(self._heads) != batch.tasks:
            raise UsageError(f"heads has {len(self._heads)} groups for {batch.tasks} tasks: give one for every task")
        return [list(self._heads[position].read().values()) for position in batch.positions]

    def _scale(self, loss: torch.Tensor) -> torch.Tensor | None:
        """Return the gradient scaler's factor without waiting for the device."""
        if self.scaler is None or not self.scaler.is_enabled():
            return None
        scale: torch.Tensor = self.scaler.scale(torch.ones((), device=loss.device))
        return scale

    def _reads(self, domain: Domain) -> bool:
        return self.method.reads == "gram" and self.gram_of == domain

    def _last_layer(self) -> list[torch.Tensor]:
        """Return the last shared layer's parameters that require a gradient."""
        last = [] if self._last is None else [p for p in self._last.read().values() if p.requires_grad]
        if {id(parameter) for parameter in last} - {id(parameter) for parameter in self.parameters.values()}:
            raise UsageError("last_shared_layer has parameters that are not among the shared ones")
        if not last and self._reads("last_shared_layer"):
            raise UsageError("last_shared_layer has no parameter that requires a gradient: give the layer itself")
        return last

    def _check(self) -> None:
        """Refuse choices that do not fit each other."""
        self._last_layer()
        if self.renew_every > 1 and self.method.returns == "update":
            raise UsageError(
                f"method {self.method.name} returns an update, not weights: it cannot be used with renew_every"
            )
