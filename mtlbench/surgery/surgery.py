"""Gradient surgery for anyone's loop: K losses in, one ordinary loss out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self, get_args

import numpy as np
import torch

from mtlbench.contract.method import Method, without_trainer
from mtlbench.contract.method_output import tell_after
from mtlbench.contract.observation import Matrix, Vector
from mtlbench.engine.library import get_method
from mtlbench.errors import UsageError, shown
from mtlbench.surgery.delivery import deliver
from mtlbench.surgery.gradient_step import GradientStep
from mtlbench.surgery.graph import Graph, past
from mtlbench.surgery.losses import TaskLosses, all_or_independent, task_losses
from mtlbench.surgery.parameters import named_parameters, shared_parameters
from mtlbench.surgery.ranks import Ranks
from mtlbench.surgery.rows import Rows, layout_of
from mtlbench.surgery.skipping import RowSkipping
from mtlbench.surgery.step_input import StepInput
from mtlbench.surgery.weighted_step import WeightedStep

Domain = Literal["shared", "last_shared_layer", "representation"]


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
        parameter that is listed twice counts once; frozen ones are left out as long as they are frozen.
    :param method: a name or spec such as ``"cagrad[c=0.2]"``, or a :class:`mtlbench.Method`.
    :param tasks: K, or the tasks' names; with names, the losses may come as a mapping.
    :param heads: for each task, the parameters (or modules) that belong to it alone. Needed where the graph does not
        tell: in a model compiled as a whole, or inside reentrant checkpoints.
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
        self.parameters = shared_parameters(shared)
        """The shared parameters by name, frozen ones included."""
        self.method = get_method(method) if isinstance(method, str) else without_trainer(_checked_method(method))
        """The method, with its state."""
        self.scaler = scaler
        """The loop's gradient scaler."""
        self._names = None if tasks is None or isinstance(tasks, int) else _distinct(tasks)
        self._tasks = len(self._names) if self._names is not None else tasks if tasks is None else _count("tasks", tasks)
        self._heads = None if heads is None else [list(named_parameters("heads", group).values()) for group in heads]
        self.renew_every, self.accumulate = _count("renew_every", renew_every), _count("accumulate", accumulate)
        last = [] if last_shared_layer is None else list(named_parameters("last_shared_layer", last_shared_layer).values())
        self.gram_of: Domain = self.method.gram_of if gram_of is None else gram_of
        """The parameters whose gradients' inner products the method reads."""
        self._check(gram_of, last)
        self.skipping = RowSkipping(self.parameters.values(), shared) if skip_zero_rows else None
        """The layers that skip rows of zeros, if asked for."""
        self._data_parallel, self._ranks = data_parallel, None
        self.rows: Rows | None = None
        self._by_gradients = GradientStep(self.method, self.accumulate, self.skipping)
        self._by_weights = WeightedStep(self.method, self.gram_of, last)
        self._steps = 0
        self._renewed: tuple[Sequence[int], Vector] | None = None
        self.losses: Vector | None = None
        """(K,) losses of the last step, of the tasks that were present, averaged over processes."""
        self.weights: Vector | None = None
        """(K,) weights of the last step; ``None`` before the first, and for a method that returns an update."""
        self.gram: Matrix | None = None
        """(K, K) inner products that were computed last; ``None`` if none were."""

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
        ``backward()``, so an error leaves every ``.grad`` as it was.

        :param losses: K scalar losses with their graphs: a list, a mapping by the tasks' names, or a (K,) tensor.
            ``None`` stands for a task without labels in this batch; it is left out of this step.
        :param representation: the tensor, or tensors, that all losses are computed from, for
            ``gram_of="representation"``.
        :param further: for SDMGrad and MoDo: K losses on each of two more, independent batches.
        :returns: a scalar tensor: Σ wᵢ Lᵢ, or Σ Lᵢ for a method that returns an update.
        :raises UsageError: when an argument does not fit, or two losses reach a parameter that is not shared.
        :raises NotFinite: when a loss or a gradient is not finite and there is no ``scaler``.
        :raises SolverError: when a solution fails the method's own optimality conditions.
        :raises CellError: when the method does not return K finite weights, or P finite numbers as its update.
        """
        step = self._input(losses, representation, further)
        present = step.losses.positions
        again = self._renewed if self._steps % self.renew_every else None
        weights = None if again is None or again[0] != present else again[1]
        if weights is None and self._needs_rows:
            output = self._by_gradients.run(step, self._fitting_rows(step))
        else:
            output = self._by_weights.run(step, weights)
        self.losses, self.gram = output.losses, output.gram
        if output.weights is not None:
            self.weights = output.weights
            self._renewed = (present, output.weights)
        self._steps += self._by_gradients.micro == 0
        return deliver(output.value, output.parcel)

    def after_step(self, losses: Any) -> None:
        """Pass the losses of the same batches after the optimizer's step, for methods that read them (FAMO).

        :param losses: K losses as for :meth:`loss`, with or without graphs.
        :raises UsageError: when their number or one of them is wrong.
        """
        values = task_losses(losses, self._names, tasks=self._tasks, graphs=False)
        like = values.tensors[0]
        numbers = torch.stack([loss.detach().double() for loss in values.tensors]).cpu().numpy()
        ranks = self._ranks or Ranks()
        tell_after(self.method, ranks.total(numbers, like) / ranks.count)

    def state_dict(self) -> dict[str, Any]:
        """Return what the next step depends on, for ``torch.save``: the method's state, and the weights in use."""
        renewed = None if self._renewed is None else [list(self._renewed[0]), self._renewed[1].tolist()]
        return {"method": self.method.state_dict(), "steps": self._steps, "renewed": renewed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state, so that the next steps are those that would have followed.

        :param state: a return value of :meth:`state_dict`.
        """
        self.method.load_state_dict(state["method"])
        self._steps, renewed = state["steps"], state["renewed"]
        self._renewed = None if renewed is None else (renewed[0], np.array(renewed[1]))

    def close(self) -> None:
        """Free the rows, and give replaced layers back their own forward."""
        self.rows = None
        if self.skipping is not None:
            self.skipping.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def _needs_rows(self) -> bool:
        reads_rows = self.method.reads == "gradients" or (self.method.reads == "gram" and self.gram_of == "shared")
        return reads_rows or self.accumulate > 1

    def _fitting_rows(self, step: StepInput) -> Rows:
        """Return the rows of earlier steps, or new ones where those do not fit."""
        tables = set() if self.skipping is None else self.skipping.tables
        layout, tasks = layout_of(step.parameters, tables), len(step.losses.tensors)
        if self.rows is None or self.rows.layout != layout or self.rows.tasks < tasks:
            self.rows = None  # before the new ones take memory
            self.rows = Rows(layout, tasks)
        return self.rows

    def _input(self, losses: Any, representation: Any, further: Sequence[Any]) -> StepInput:
        """Validate the arguments of :meth:`loss`."""
        batch = task_losses(losses, self._names, tasks=self._tasks)
        all_or_independent(self.method, batch)
        self._tasks = batch.tasks if self._tasks is None and self.method.state != "none" else self._tasks
        shared = {name: parameter for name, parameter in self.parameters.items() if parameter.requires_grad}
        if not shared:
            raise UsageError("no shared parameter requires a gradient any more: unfreeze some")
        ids = {id(parameter) for parameter in shared.values()}
        if self._heads is not None and len(self._heads) != batch.tasks:
            raise UsageError(f"heads has {len(self._heads)} groups for {batch.tasks} tasks: give one for every task")
        heads = None if self._heads is None else [self._heads[position] for position in batch.positions]
        if self._ranks is None:
            self._ranks = Ranks.of(shared.values(), self._data_parallel)
        present = [float(position in batch.positions) for position in range(batch.tasks)]
        self._ranks.same("losses", present, batch.tensors[0])
        if self.accumulate > 1 and self._ranks.synchronizes and self._by_gradients.micro < self.accumulate - 1:
            raise UsageError(
                f"micro-batch {self._by_gradients.micro + 1} of {self.accumulate} would synchronize gradients: run all "
                "but the last under model.no_sync()"
            )
        return StepInput(
            batch,
            Graph.of(batch.tensors, ids, heads),
            shared,
            self._representation(batch, representation, ids),
            self._further(further, batch.tasks),
            self._scale(batch.tensors[0]),
            self._ranks,
            self._names,
        )

    def _representation(self, batch: TaskLosses, representation: Any, shared: set[int]) -> list[torch.Tensor]:
        if self.gram_of != "representation" or self.method.reads != "gram":
            return []
        tensors = [representation] if isinstance(representation, torch.Tensor) else list(representation or ())
        if not tensors:
            raise UsageError(
                f"method {self.method.name} reads the gradients of the representation: give representation"
            )
        if any(not isinstance(tensor, torch.Tensor) or tensor.grad_fn is None for tensor in tensors):
            raise UsageError("representation must be tensors computed by the shared module, with their graph")
        if past(batch.tensors, tensors, shared):
            raise UsageError(
                "a loss reaches a shared parameter on a way around the representation: give all tensors between the "
                "shared parameters and the heads"
            )
        nodes = [{node for node in reached} for reached in (Graph.nodes(loss) for loss in batch.tensors)]
        if len(nodes) > 1 and not any(sum(t.grad_fn in group for group in nodes) > 1 for t in tensors):
            raise UsageError(
                "every loss has a representation of its own, so their gradients are orthogonal and no method can see a "
                "conflict: use gram_of='shared' or 'last_shared_layer' for batches of their own"
            )
        return tensors

    def _further(self, further: Sequence[Any], tasks: int) -> list[TaskLosses]:
        expected = self.method.batches - 1
        if len(further) != expected or any(len(list(batch)) != tasks for batch in further):
            advice = f"further= {expected} lists of {tasks} losses" if expected else "no further="
            plural = "es" if expected else ""
            raise UsageError(f"method {self.method.name} takes {expected + 1} batch{plural} a step: give {advice}")
        return [task_losses(batch, self._names, tasks=tasks) for batch in further]

    def _scale(self, loss: torch.Tensor) -> torch.Tensor | None:
        """Return the gradient scaler's factor without waiting for the device."""
        if self.scaler is None or not self.scaler.is_enabled():
            return None
        scale: torch.Tensor = self.scaler.scale(torch.ones((), device=loss.device))
        return scale

    def _check(self, gram_of: Any, last: list[torch.Tensor]) -> None:
        """Refuse choices that do not fit the method."""
        method = self.method
        if gram_of is not None and gram_of not in get_args(Domain):
            raise UsageError(f"gram_of must be {', '.join(get_args(Domain))}, not {shown(gram_of)}")
        if gram_of not in (None, method.gram_of) and method.reads != "gram":
            raise UsageError(f"method {method.name} reads no Gram matrix, so gram_of does not apply: leave it out")
        if self.gram_of == "last_shared_layer" and method.reads == "gram" and not last:
            raise UsageError(
                f"{method.name} reads the last shared layer: pass last_shared_layer= or parameters_of=shared"
            )
        if {id(parameter) for parameter in last} - {id(parameter) for parameter in self.parameters.values()}:
            raise UsageError("last_shared_layer has parameters that are not among the shared ones")
        if self.renew_every > 1 and method.returns == "update":
            raise UsageError(f"method {method.name} returns an update, not weights: it cannot be used with renew_every")
        if self.accumulate > 1 and (self.gram_of != "shared" or method.batches > 1 or self.renew_every > 1):
            raise UsageError("accumulate averages whole task gradients: use it without gram_of, renew_every and further=")


def _checked_method(method: Any) -> Method:
    if isinstance(method, Method):
        return method
    raise UsageError(f"method must be a name, a spec or a Method, not {shown(method)}")


def _count(argument: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UsageError(f"{argument} must be a whole number of at least 1, not {shown(value)}")
    return value


def _distinct(names: Sequence[str]) -> list[str]:
    result = [str(name) for name in names]
    if not result or len(set(result)) != len(result):
        raise UsageError(f"tasks must be K, or K different names, not {shown(names)}")
    return result
