"""Batched form of PCGrad, which projects each gradient off those that it conflicts with, in random order."""

from __future__ import annotations

import numpy as np

from mtlbench.batched.arrays import Grams, Rows, diagonals
from mtlbench.batched.base import Batched
from mtlbench.batched.draws import Draws
from mtlbench.batched.forms import form_of
from mtlbench.methods.pcgrad import PCGrad


@form_of(PCGrad)
class BatchedPCGrad(Batched):
    """Projecting conflicting gradients: all tasks of all problems meet the next task of their orders at once."""

    draws = True
    orders: Draws | None = None
    """(B, K, K) tasks: row i is the order in which task i meets the others."""

    def compute(self, losses: Rows, gram: Grams) -> Rows:
        problems, tasks = gram.shape[:2]
        if tasks == 2:  # no order to draw
            squares = diagonals(gram)
            conflicts = np.minimum(gram[:, :1, 1], 0.0)
            return 1.0 - np.divide(conflicts, squares, out=np.zeros((problems, 2)), where=conflicts < 0.0)
        if self.orders is None:
            self.orders = Draws(self.generators, lambda generator, steps: _orders(generator, steps, tasks))
        orders = self.orders.step()
        coordinates = np.broadcast_to(np.eye(tasks), gram.shape).copy()  # row i: the coordinates of task i's gradient
        rows, own = np.arange(problems)[:, None], np.arange(tasks)
        for turn in range(tasks):
            other = orders[:, :, turn].astype(np.intp)
            met = gram[rows, other]  # row i: the inner products of the task that i meets
            products = np.einsum("bij,bij->bi", coordinates, met)
            conflict = (products < 0.0) & (other != own)
            squares = np.where(conflict, gram[rows, other, other], 1.0)
            coordinates[rows, own, other] -= np.where(conflict, products / squares, 0.0)
        return coordinates.sum(axis=1)


def _orders(generator: np.random.Generator, steps: int, tasks: int) -> np.ndarray:
    """Return (steps, K, K) orders, those of K calls of ``permutation`` a step."""
    orders = np.tile(np.arange(tasks, dtype=np.int64), (steps * tasks, 1))
    return generator.permuted(orders, axis=1).reshape(steps, tasks, tasks).astype(np.int16)
