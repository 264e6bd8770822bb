"""Columns that are trained with one kind of backward pass: one for the weighted sum, or one for each task."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from mtlbench.map.cells import Column
from mtlbench.map.clock import Clock
from mtlbench.map.family import Instances, Rows
from mtlbench.map.network import (
    Networks,
    errors,
    forward,
    head_gradients,
    inner_products,
    sum_gradients,
    task_gradients,
)
from mtlbench.map.weighing import Weighing, method_of


class Group:
    """S instances × Q columns in training.

    :param instances: the instances.
    :param columns: Q columns, those of a method side by side.
    :param positions: their positions among all columns of the map.
    :param per_task: compute the gradient of each task, for methods that read their inner products.
    """

    def __init__(
        self, instances: Instances, columns: Sequence[Column], positions: Sequence[int], *, per_task: bool
    ) -> None:
        self.columns, self.positions, self.per_task = list(columns), list(positions), per_task
        self.networks = Networks(instances, [column.lr for column in columns])
        self.weighing = Weighing(columns, instances.setting.tasks, instances.seeds)
        self.losses = np.zeros(0)
        """(S, K, Q) losses of the last step."""
        self.diverged: NDArray[np.bool_] = np.zeros((len(instances), len(columns)), dtype=np.bool_)
        """(S, Q) whether a loss was NaN or infinite in some step."""
        self._factors = instances.factors.to(instances.dtype)

    def step(self, rows: Rows, clock: Clock) -> None:
        """Take one step on a batch.

        :param rows: the batch.
        :param clock: measures where the time goes.
        """
        networks, weighing, inputs = self.networks, self.weighing, rows.inputs
        units, outputs = forward(inputs, networks.inner, networks.outer)
        losses, gradients = errors(outputs, rows, self._factors)
        self.losses = losses.double().numpy()
        self.diverged |= ~np.isfinite(self.losses).all(axis=1)
        parts, gram = losses, None
        if self.per_task:
            parts = task_gradients(inputs, gradients, units, networks.outer)
            clock.lap("forward and backward")
            gram = inner_products(parts).numpy()
            clock.lap("inner products")
        else:
            clock.lap("forward and backward")
        weighing.weigh(self.losses, gram)
        clock.lap("methods")
        weights, heads = (torch.from_numpy(part).to(losses.dtype) for part in (weighing.weights, weighing.heads))
        torch.mul(head_gradients(gradients, units), heads[:, :, None], out=networks.outer_gradient)
        if self.per_task:
            update = parts[:, :, 0] * weights[:, None, 0, None]
            for task in range(1, parts.shape[2]):
                update.addcmul_(parts[:, :, task], weights[:, None, task, None])
        else:
            update = sum_gradients(inputs, gradients.mul_(weights[:, None]), units, networks.outer)
        weighing.limit(update)
        networks.inner_gradient.copy_(update)
        clock.lap("forward and backward")
        networks.step()
        clock.lap("optimizer")
        self._after_step(rows)
        clock.lap("methods")

    def _after_step(self, rows: Rows) -> None:
        for method in self.weighing.methods:
            if method.method.reads_after:
                inner, outer = self.networks.inner[..., method.place], self.networks.outer[..., method.place]
                losses, _ = errors(forward(rows.inputs, inner, outer)[1], rows, self._factors)
                method.after_step(losses.double().numpy())


def groups_of(instances: Instances, columns: Sequence[Column]) -> list[Group]:
    """Return the groups of some columns: at most one for the weighted sum and one with a gradient for each task.

    :param instances: the instances.
    :param columns: the columns, in any order.
    :raises UsageError: for a column that does not suit the family.
    """
    needs = {spec: spec != "sum" and method_of(spec).reads == "gram" for spec in {c.method for c in columns}}
    order = sorted(range(len(columns)), key=lambda position: columns[position].method)
    groups = []
    for per_task in (False, True):
        chosen = [position for position in order if needs[columns[position].method] == per_task]
        if chosen:
            groups.append(Group(instances, [columns[p] for p in chosen], chosen, per_task=per_task))
    return groups
