"""The weights of all cells' losses in a step: constant ones, those of the log rule, and those of batched methods."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray

from mtlbench.batched import Batched, batched
from mtlbench.contract.method import Method
from mtlbench.contract.observation import FLOOR
from mtlbench.engine.library import get_method
from mtlbench.errors import UsageError
from mtlbench.map.cells import Array, Column


class MethodColumns:
    """The columns of one method, which differ in their learning rates.

    :param method: the method.
    :param place: the columns' places in their group.
    :param seeds: (S,) seeds of the instances.
    """

    def __init__(self, method: Method, place: slice, seeds: Sequence[int]) -> None:
        self.method, self.place = method, place
        self._shape = len(seeds), place.stop - place.start
        self._batched: Batched = batched(method, [seed for seed in seeds for _ in range(self._shape[1])])

    def weigh(self, losses: Array, gram: Array | None, weights: Array, heads: Array) -> None:
        """Write the weights of one step.

        :param losses: (S, K, Q) losses of the group.
        :param gram: (S, Q, K, K) inner products of the group, if it has any.
        :param weights: (S, K, Q) weights of the shared gradients, written for these columns.
        :param heads: (S, K, Q) factors of the heads' gradients, written for these columns.
        """
        own = losses[:, :, self.place]
        products = None
        if self.method.reads == "gram" and gram is not None:
            products = gram[:, self.place].reshape(-1, *gram.shape[2:])
        answer = self._batched.weights(self._rows(own), products)
        weights[:, :, self.place] = answer.reshape(*self._shape, -1).swapaxes(1, 2)
        if self.method.heads == "weighted":
            heads[:, :, self.place] = weights[:, :, self.place]
        elif self.method.heads == "log":
            heads[:, :, self.place] = 1.0 / np.where(own == 0.0, FLOOR, own)

    def after_step(self, losses: Array) -> None:
        """Pass on the losses after the step.

        :param losses: (S, K, Q) losses of these columns.
        """
        self._batched.after_step(self._rows(losses))

    @property
    def failures(self) -> dict[tuple[int, int], str]:
        """(instance, place) → why the method has stopped there."""
        width = self._shape[1]
        return {
            (row // width, self.place.start + row % width): str(error) for row, error in self._batched.failures.items()
        }

    @staticmethod
    def _rows(losses: Array) -> Array:
        rows: Array = losses.swapaxes(1, 2).reshape(-1, losses.shape[1])
        return rows


class Weighing:
    """The weights of a group of columns.

    :param columns: Q columns, those of a method side by side.
    :param tasks: K.
    :param seeds: (S,) seeds of the instances.
    :raises UsageError: for a column that does not suit the family.
    """

    def __init__(self, columns: Sequence[Column], tasks: int, seeds: Sequence[int]) -> None:
        self._constant = np.stack([constant_weights(column, tasks) for column in columns], axis=1)
        self.weights: Array = np.repeat(self._constant[None], len(seeds), axis=0)
        """(S, K, Q) weights of the shared gradients in the last step."""
        self.heads: Array = self.weights.copy()
        """(S, K, Q) factors of the heads' gradients in the last step."""
        self._log = np.flatnonzero([column.step_rule == "log" for column in columns])
        self.unit: NDArray[np.bool_] = np.array([column.step_rule == "unit" for column in columns])
        """(Q,) whether the shared update is scaled to length 1."""
        self.methods: list[MethodColumns] = []
        self.longest = np.full(len(columns), np.inf)
        """(Q,) length to which the shared update is clipped."""
        start = 0
        for spec, members in groupby(columns, key=lambda column: column.method):
            place = slice(start, start := start + len(list(members)))
            if spec != "sum":
                self.methods.append(MethodColumns(method_of(spec), place, seeds))
                self.longest[place] = self.methods[-1].method.clip_norm or np.inf

    def weigh(self, losses: Array, gram: Array | None = None) -> None:
        """Compute the weights of one step.

        :param losses: (S, K, Q) losses.
        :param gram: (S, Q, K, K) inner products of the task gradients.
        """
        if len(self._log):
            with np.errstate(all="ignore"):
                own = self._constant[:, self._log]
                total = (own * losses[:, :, self._log]).sum(axis=1, keepdims=True)
                self.heads[:, :, self._log] = self.weights[:, :, self._log] = own / np.where(total == 0.0, FLOOR, total)
        for method in self.methods:
            method.weigh(losses, gram, self.weights, self.heads)

    def limit(self, update: torch.Tensor) -> None:
        """Clip the shared updates, or scale them to length 1, in place. An update of zero stays zero.

        :param update: (S, D, h, Q) shared updates.
        """
        if not (self.unit.any() or np.isfinite(self.longest).any()):
            return
        lengths = update.flatten(1, 2).double().square().sum(1).sqrt().numpy()
        with np.errstate(all="ignore"):
            factors = np.where(self.unit, 1.0 / lengths, np.minimum(1.0, self.longest / lengths))
        factors[lengths == 0.0] = 1.0
        update.mul_(torch.from_numpy(factors).to(update.dtype)[:, None, None])

    @property
    def failures(self) -> dict[tuple[int, int], str]:
        """(instance, place) → why the method has stopped there."""
        return {place: reason for method in self.methods for place, reason in method.failures.items()}


def constant_weights(column: Column, tasks: int) -> Array:
    """Return the (K,) weights of a control, before the log rule; 1 for all other columns.

    :param column: the column.
    :param tasks: K.
    :raises UsageError: when they do not fit K tasks.
    """
    if column.weights is not None and len(column.weights) != tasks:
        raise UsageError(f"column sum: weights={column.weights} are {len(column.weights)} for {tasks} tasks")
    if column.single is not None:
        if not 0 <= column.single < tasks:
            raise UsageError(f"column sum: single={column.single} should be a task from 0 to {tasks - 1}")
        return np.eye(tasks)[column.single]
    return np.ones(tasks) if column.weights is None else np.array(column.weights)


def method_of(spec: str) -> Method:
    """Return the method of a column.

    :param spec: its name and parameters.
    :raises UsageError: for an unknown method, or one that cannot be trained in the map.
    """
    method = get_method(spec)
    if not method.joint:
        raise UsageError(f"method {method.name}: the map trains single tasks as columns of sum: give single")
    if method.reads == "gram" and method.gram_of == "representation":
        raise UsageError(f"method {method.name} reads gradients of the representation, which the map does not compute")
    return method
