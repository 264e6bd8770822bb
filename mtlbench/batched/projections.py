"""Batched forms of methods that turn each gradient away from conflicts, in random order: pcgrad, gradvac."""

from __future__ import annotations

import numpy as np

from mtlbench.batched.arrays import Grams, Rows, diagonals, times
from mtlbench.batched.base import Batched
from mtlbench.batched.draws import Draws
from mtlbench.batched.forms import form_of
from mtlbench.methods.gradvac import HIGHEST, GradVac
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


@form_of(GradVac)
class BatchedGradVac(Batched):
    """Gradient vaccine: like PCGrad, towards cosines that follow moving targets."""

    draws = True
    method: GradVac
    orders: Draws | None = None
    """(B, K, K) tasks: row i is the order in which task i meets the others."""
    targets: Grams
    """(B, K, K) the target cosines."""

    def compute(self, losses: Rows, gram: Grams) -> Rows:
        problems, tasks = gram.shape[:2]
        if self.orders is None:
            self.orders = Draws(self.generators, lambda generator, steps: _orders(generator, steps, tasks))
            self.targets = np.zeros_like(gram)
        orders = self.orders.step()
        rows, own = np.arange(problems)[:, None], np.arange(tasks)
        lengths = np.sqrt(diagonals(gram))
        coordinates = np.broadcast_to(np.eye(tasks), gram.shape).copy()
        products, length = gram.copy(), lengths.copy()  # row i: of task i's changed gradient
        for turn in range(tasks):
            other = orders[:, :, turn].astype(np.intp)
            theirs, target = lengths[rows, other], self.targets[rows, own, other]
            met = (other != own) & (length > 0.0) & (theirs > 0.0)
            scale = np.where(met, length * theirs, 1.0)
            cosine = np.clip(products[rows, own, other] / scale, -1.0, 1.0)
            aim = np.minimum(target, HIGHEST)
            missed = met & (cosine < aim)
            sine, aim_sine = np.sqrt(1.0 - cosine**2), np.sqrt(1.0 - aim**2)
            multiple = (aim * sine - cosine * aim_sine) / aim_sine
            step = np.where(missed, length / np.where(met, theirs, 1.0) * multiple, 0.0)
            coordinates[rows, own, other] += step
            products += step[:, :, None] * gram[rows, other]
            length = np.where(missed, _lengths(coordinates, products, lengths), length)
            changed = missed if self.method.average == "violation" else met
            average = (1.0 - self.method.beta) * target + self.method.beta * cosine
            self.targets[rows, own, other] = np.where(changed, average, target)
        return coordinates.sum(axis=1)


def _lengths(coordinates: Grams, products: Grams, lengths: Rows) -> Rows:
    """Return the (B, K) norms of the changed gradients, or 0 where they consist of rounding errors only."""
    squares = np.einsum("bij,bij->bi", coordinates, products)
    terms = times(np.abs(coordinates), lengths)
    return np.where(squares > (1e-7 * terms) ** 2, np.sqrt(np.maximum(squares, 0.0)), 0.0)
