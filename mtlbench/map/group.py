"""Columns that are trained with one kind of backward pass: one for the weighted sum, or one for each task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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

CHUNK = 2**18
"""Most numbers of the largest intermediate array, (S, B, K, h, Q), unless one instance has more. It bounds the memory:
larger ones are not faster."""


@dataclass(frozen=True)
class Pass:
    """What the forward pass of some instances leaves for the backward pass.

    :param here: the instances.
    :param inputs: (S, B, D) inputs of the batch.
    :param units: (S, B, h, Q) values of the shared units.
    :param gradients: (S, B, K, Q) gradients of the losses by the outputs.
    :param parts: (S, D, K, h, Q) gradients of each task's loss by the shared layer; ``None`` where none are needed.
    """

    here: slice
    inputs: torch.Tensor
    units: torch.Tensor
    gradients: torch.Tensor
    parts: torch.Tensor | None


class Group:
    """S instances × Q columns in training.

    Networks are computed chunk by chunk, which bounds the memory of intermediate arrays; methods and the optimizer work
    on all instances at once.

    :param instances: the instances.
    :param columns: Q columns, those of a method side by side.
    :param positions: their positions among all columns of the map.
    :param per_task: compute the gradient of each task, for methods that read their inner products.
    """

    def __init__(
        self, instances: Instances, columns: Sequence[Column], positions: Sequence[int], *, per_task: bool
    ) -> None:
        setting, count = instances.setting, len(instances)
        self.columns, self.positions, self.per_task = list(columns), list(positions), per_task
        self.networks = Networks(instances, [column.lr for column in columns])
        self.weighing = Weighing(columns, setting.tasks, instances.seeds)
        self.losses = np.zeros((count, setting.tasks, len(columns)))
        """(S, K, Q) losses of the last step."""
        self.diverged: NDArray[np.bool_] = np.zeros((count, len(columns)), dtype=np.bool_)
        """(S, Q) whether a loss was NaN or infinite in some step."""
        self._gram = np.zeros((count, len(columns), setting.tasks, setting.tasks)) if per_task else None
        self._factors = instances.factors.to(instances.dtype)
        size = max(1, CHUNK // (setting.batch * setting.tasks * setting.width * len(columns)))
        self._chunks = [slice(start, start + size) for start in range(0, count, size)]

    def step(self, rows: Rows, clock: Clock) -> None:
        """Take one step on a batch.

        :param rows: the batch.
        :param clock: measures where the time goes.
        """
        passes = [self._forward(rows, here, clock) for here in self._chunks]
        self.diverged |= ~np.isfinite(self.losses).all(axis=1)
        self.weighing.weigh(self.losses, self._gram)
        clock.lap("methods")
        dtype = rows.inputs.dtype
        weights, heads = (torch.from_numpy(part).to(dtype) for part in (self.weighing.weights, self.weighing.heads))
        for made in passes:
            self._backward(made, weights[made.here], heads[made.here])
        self.weighing.limit(self.networks.inner_gradient)
        clock.lap("forward and backward")
        self.networks.step()
        clock.lap("optimizer")
        self._after_step(rows)
        clock.lap("methods")

    def _forward(self, rows: Rows, here: slice, clock: Clock) -> Pass:
        """Compute the losses of some instances, and where methods read them, the inner products of their gradients."""
        inputs, outer = rows.inputs[here], self.networks.outer[here]
        units, outputs = forward(inputs, self.networks.inner[here], outer)
        losses, gradients = errors(outputs, rows.labels[here], self._factors[here])
        self.losses[here] = losses.numpy()
        parts = task_gradients(inputs, gradients, units, outer) if self.per_task else None
        clock.lap("forward and backward")
        if parts is not None and self._gram is not None:
            self._gram[here] = inner_products(parts).numpy()
            clock.lap("inner products")
        return Pass(here, inputs, units, gradients, parts)

    def _backward(self, made: Pass, weights: torch.Tensor, heads: torch.Tensor) -> None:
        """Write the gradients of some instances, with their (S, K, Q) weights and factors of the heads."""
        networks, here = self.networks, made.here
        by_heads = networks.outer_gradient[here]
        torch.mul(head_gradients(made.gradients, made.units), heads[:, :, None], out=by_heads)
        if made.parts is None:
            weighted = made.gradients * weights[:, None]
            update = sum_gradients(made.inputs, weighted, made.units, networks.outer[here])
        else:
            update = made.parts[:, :, 0] * weights[:, None, 0, None]
            for task in range(1, weights.shape[1]):
                update.addcmul_(made.parts[:, :, task], weights[:, None, task, None])
        networks.inner_gradient[here] = update

    def _after_step(self, rows: Rows) -> None:
        for method in self.weighing.methods:
            if method.method.reads_after:
                inner, outer = self.networks.inner[..., method.place], self.networks.outer[..., method.place]
                losses, _ = errors(forward(rows.inputs, inner, outer)[1], rows.labels, self._factors)
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
