"""Gradients of the parameters that are not shared: each belongs to the one loss that reaches it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mtlbench.contract.observation import Vector
from mtlbench.errors import UsageError
from mtlbench.surgery.graph import Graph


class HeadGradients:
    """Gradients of leaves outside the shared parameters, summed over micro-batches.

    :param graph: tells the leaves of each loss, and those that several seem to reach.
    :param losses: the K losses, for messages.
    """

    def __init__(self, graph: Graph, losses: Sequence[torch.Tensor]) -> None:
        self._graph, self._losses = graph, losses
        self._entries: dict[int, tuple[int, torch.Tensor, torch.Tensor]] = {}
        """By the leaf's id: the task's number, the leaf, and its gradient."""
        self._disputed: list[tuple[int, torch.Tensor, torch.Tensor]] = []

    def leaves(self, task: int) -> list[torch.Tensor]:
        """Return the leaves that may belong to a task.

        :param task: the loss's number.
        """
        return [*self._graph.heads[task], *self._graph.disputed]

    def add(self, task: int, gradients: Sequence[torch.Tensor | None]) -> None:
        """Keep a pass's gradients.

        :param task: the loss's number.
        :param gradients: one for each of :meth:`leaves`; ``None`` where the loss does not reach it.
        """
        known = len(self._graph.heads[task])
        for number, (leaf, gradient) in enumerate(zip(self.leaves(task), gradients, strict=True)):
            if gradient is not None and number < known:
                self._entries[id(leaf)] = (task, leaf, gradient)
            elif gradient is not None:
                self._disputed.append((task, leaf, gradient))

    def settle(self) -> None:
        """Give each disputed leaf to the only loss with a nonzero gradient for it.

        :raises UsageError: when there are two such losses.
        """
        if not self._disputed:
            return
        nonzero = torch.stack([gradient.count_nonzero() for _, _, gradient in self._disputed]).tolist()
        live: set[int] = set()
        for entry, count in zip(self._disputed, nonzero, strict=True):
            key = id(entry[1])
            if count and key in live:
                raise UsageError(self._graph.dispute(self._losses, entry[1]))
            if count or key not in self._entries:
                self._entries[key] = entry
            if count:
                live.add(key)
        self._disputed = []

    @property
    def all_leaves(self) -> list[torch.Tensor]:
        """The leaves of all tasks."""
        return [*(leaf for group in self._graph.heads for leaf in group), *self._graph.disputed]

    def take(self, leaves: Sequence[torch.Tensor], gradients: Sequence[torch.Tensor | None]) -> None:
        """Keep a joint pass's gradients, in which the tasks' factors are already.

        :param leaves: some of :attr:`all_leaves`.
        :param gradients: a gradient for each; ``None`` where no loss reaches it.
        """
        owner = {id(leaf): task for task, group in enumerate(self._graph.heads) for leaf in group}
        for leaf, gradient in zip(leaves, gradients, strict=True):
            if gradient is not None:
                self._entries[id(leaf)] = (owner.get(id(leaf), 0), leaf, gradient)

    def merge(self, earlier: HeadGradients) -> None:
        """Add the gradients of an earlier micro-batch.

        :param earlier: gradients of the same tasks.
        """
        for key, (task, leaf, gradient) in earlier._entries.items():
            mine = self._entries.get(key)
            self._entries[key] = (task, leaf, gradient if mine is None else mine[2] + gradient)

    @property
    def tasks(self) -> list[int]:
        """The number of the task of each gradient."""
        return [task for task, _, _ in self._entries.values()]

    @property
    def parameters(self) -> list[torch.Tensor]:
        """The leaves that have a gradient."""
        return [leaf for _, leaf, _ in self._entries.values()]

    def norms(self) -> list[torch.Tensor]:
        """Return the norm of each gradient, as scalar tensors."""
        return norms_of([gradient for _, _, gradient in self._entries.values()])

    def times(self, factors: Vector) -> list[torch.Tensor]:
        """Return the gradients, each times its task's factor.

        :param factors: one number for each task.
        """
        return [
            gradient if factors[task] == 1.0 else gradient * float(factors[task])
            for task, _, gradient in self._entries.values()
        ]


def norms_of(gradients: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Return the norm of each gradient as a scalar tensor, to see whether all are finite.

    :param gradients: dense or sparse tensors, of any types and devices.
    """
    dense = [gradient.coalesce().values() if gradient.is_sparse else gradient for gradient in gradients]
    dense = [gradient.float() if gradient.element_size() < 4 else gradient for gradient in dense]  # a norm may overflow
    norms = torch._foreach_norm(dense) if dense else []
    return [norm.abs() if norm.is_complex() else norm for norm in norms]
