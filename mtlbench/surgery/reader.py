"""Read what a user passes at every step: losses and their graphs, against what the surgery was made for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from mtlbench.contract.method import Method
from mtlbench.errors import UsageError
from mtlbench.surgery.arguments import Domain
from mtlbench.surgery.graph import Graph, refuse_unreached
from mtlbench.surgery.losses import TaskLosses, all_or_independent, further_losses, task_losses
from mtlbench.surgery.parameters import Source
from mtlbench.surgery.ranks import Ranks
from mtlbench.surgery.representation import representation_of
from mtlbench.surgery.step_input import StepInput


class StepReader:
    """Reader of one surgery's steps.

    :param shared: where the shared parameters are.
    :param method: the method.
    :param gram_of: the parameters whose inner products it reads.
    :param tasks: K, if known.
    :param names: the tasks' names, if known.
    :param heads: each task's own parameters, where the user names them.
    :param last: where the last shared layer's parameters are, if given.
    :param processes: the user's choice of the processes to average over.
    :param scaler: the loop's gradient scaler, if it has one.
    :raises UsageError: when the last shared layer's parameters are not shared.
    """

    def __init__(
        self,
        shared: Source,
        method: Method,
        gram_of: Domain,
        *,
        tasks: int | None,
        names: Sequence[str] | None,
        heads: Sequence[Source] | None,
        last: Source | None,
        processes: Any,
        scaler: Any,
    ) -> None:
        self.parameters = shared.parameters
        """The shared parameters by name, frozen ones included."""
        self.method, self.gram_of, self.tasks, self.names, self.scaler = method, gram_of, tasks, names, scaler
        self._shared, self._heads, self._last, self._processes = shared, heads, last, processes
        self._ranks: Ranks | None = None
        self._last_layer()

    @property
    def ranks(self) -> Ranks:
        """The processes that a step's batch is spread over; one process before the first step."""
        return self._ranks or Ranks()

    def reads(self, domain: Domain) -> bool:
        """Return whether the method reads the inner products over some parameters.

        :param domain: the parameters.
        """
        return self.method.reads == "gram" and self.gram_of == domain

    def losses(self, losses: Any, *, graphs: bool = True) -> TaskLosses:
        """Return losses in the tasks' order.

        :param losses: as for :func:`task_losses`.
        :param graphs: whether every loss must have a graph.
        :raises UsageError: as :func:`task_losses`.
        """
        return task_losses(losses, self.names, tasks=self.tasks, graphs=graphs)

    def fix_positions(self, losses: TaskLosses) -> None:
        """Hold all later steps to the number and the names of these tasks.

        :param losses: a step's losses.
        """
        self.tasks, self.names = losses.tasks, losses.names or self.names

    def read(self, losses: Any, representation: Any, further: Any, *, micro: int, accumulate: int) -> StepInput:
        """Return the validated input of a step.

        :param losses: as for :meth:`Surgery.loss`, like the next two.
        :param representation: see there.
        :param further: see there.
        :param micro: the number of micro-batches before this one.
        :param accumulate: the number of micro-batches of an optimizer step.
        :raises UsageError: when an argument does not fit.
        """
        if torch.is_inference_mode_enabled():
            raise UsageError("Surgery.loss() runs backward passes: call it outside torch.inference_mode()")
        batch = self.losses(losses)
        all_or_independent(self.method, batch)
        shared = self.trainable()
        ids = {id(parameter) for parameter in shared.values()}
        heads = self.head_groups(batch)
        refuse_unreached(batch.tensors, ids, batch.labels)
        if self._ranks is None:
            self._ranks = Ranks.of(shared.values(), self._processes)
        present = [float(position in batch.positions) for position in range(batch.tasks)]
        self._ranks.same("losses", present, batch.tensors[0])
        graph = Graph.of(batch.tensors, ids, heads, batch.labels)
        self._refuse_early_averages(graph, micro, accumulate)
        return StepInput(
            batch,
            graph,
            shared,
            representation_of(self.method, representation, batch.tensors, ids, used=self.reads("representation")),
            self._last_layer() if self.reads("last_shared_layer") else [],
            further_losses(further, batch, self.method),
            self._scale(batch.tensors[0]),
            self._ranks,
        )

    def trainable(self) -> dict[str, torch.Tensor]:
        """Read the shared parameters anew, and return those that require a gradient.

        :raises UsageError: when there is none.
        """
        self.parameters = self._shared.read()
        shared = {name: parameter for name, parameter in self.parameters.items() if parameter.requires_grad}
        if not shared:
            raise UsageError("no shared parameter requires a gradient any more: unfreeze some")
        return shared

    def head_groups(self, losses: TaskLosses) -> list[list[torch.Tensor]] | None:
        """Return the parameters that the user named for each task that is present.

        :param losses: a step's losses.
        :raises UsageError: when there are groups for another number of tasks.
        """
        if self._heads is None:
            return None
        if len(self._heads) != losses.tasks:
            raise UsageError(f"heads has {len(self._heads)} groups for {losses.tasks} tasks: give one for every task")
        return [list(self._heads[position].read().values()) for position in losses.positions]

    def _refuse_early_averages(self, graph: Graph, micro: int, accumulate: int) -> None:
        """Refuse a step in which the data-parallel module would average gradients before they are ready."""
        if not self.ranks.synchronizes:
            return
        if graph.reentrant:
            raise UsageError(
                "a reentrant checkpoint runs DistributedDataParallel's hooks in every backward pass: use "
                "use_reentrant=False"
            )
        if micro < accumulate - 1:
            raise UsageError(
                f"micro-batch {micro + 1} of {accumulate} would synchronize gradients: run all but the last under "
                "model.no_sync()"
            )

    def _scale(self, loss: torch.Tensor) -> torch.Tensor | None:
        """Return the gradient scaler's factor without waiting for the device."""
        if self.scaler is None or not self.scaler.is_enabled():
            return None
        scale: torch.Tensor = self.scaler.scale(torch.ones((), device=loss.device))
        return scale

    def _last_layer(self) -> list[torch.Tensor]:
        """Return the last shared layer's parameters that require a gradient."""
        last = [] if self._last is None else [p for p in self._last.read().values() if p.requires_grad]
        if {id(parameter) for parameter in last} - {id(parameter) for parameter in self.parameters.values()}:
            raise UsageError("last_shared_layer has parameters that are not among the shared ones")
        if not last and self.reads("last_shared_layer"):
            raise UsageError("last_shared_layer has no parameter that requires a gradient: give the layer itself")
        return last
