"""Batched forms of methods that look for points of the gradients' hull: mgda, mgda-ub, edm, cagrad."""

from __future__ import annotations

import numpy as np

from mtlbench.batched.arrays import Grams, Rows, diagonals, dot, every, or_one, outer, some, times
from mtlbench.batched.base import Batched
from mtlbench.batched.forms import form_of
from mtlbench.batched.solvers import PRECISE
from mtlbench.batched.solvers.conflict_averse import conflict_averse
from mtlbench.batched.solvers.directions import directions, factor
from mtlbench.batched.solvers.nonnegative import nearest_in_hull
from mtlbench.contract.observation import Vector
from mtlbench.methods.cagrad import SMALLEST_SHIFT, CAGrad
from mtlbench.methods.edm import EDM
from mtlbench.methods.mgda import MGDA
from mtlbench.methods.mgda_ub import MGDAUB
from mtlbench.solvers import TOLERANCE


@form_of(MGDA, MGDAUB)
class BatchedMGDA(Batched):
    """Multiple-gradient descent algorithm."""

    method: MGDA

    def compute(self, losses: Rows, gram: Grams) -> Rows:
        scale = self._scale(losses, gram)
        points = gram / outer(scale)
        weights, violation = nearest_in_hull(points)
        weights = weights / scale
        self.solve_alone(~(violation <= PRECISE), weights, losses, gram)
        return weights

    def residual(self, losses: Rows | None, gram: Grams | None, weights: Rows) -> Vector | None:
        assert gram is not None
        scale = self._scale(np.empty(0) if losses is None else losses, gram)
        points, shares = gram / outer(scale), weights * scale
        lengths = np.sqrt(np.clip(diagonals(points), 0.0, None))
        products = times(points, shares)
        shortfall = (dot(shares, products)[:, None] - products) / np.where(lengths > 0.0, lengths, 1.0)
        terms = dot(np.abs(shares), lengths)
        least = shortfall.max(axis=1) / np.where(terms > 0.0, terms, 1.0)
        return np.maximum(np.maximum(least, -shares.min(axis=1)), np.abs(shares.sum(axis=1) - 1.0))

    def _scale(self, losses: Rows, gram: Grams) -> Rows:
        """Return the (B, K) numbers that divide the gradients."""
        scale = np.ones(gram.shape[:2])
        if self.method.normalize in ("l2", "loss+"):
            scale *= np.sqrt(diagonals(gram))
        if self.method.normalize in ("loss", "loss+"):
            scale *= losses
        return np.where(scale <= 0.0, 1.0, scale)


@form_of(EDM)
class BatchedEDM(Batched):
    """Equiangular direction method."""

    def compute(self, losses: Rows, gram: Grams) -> Rows:
        units = directions(gram)
        zero = ~units.kept
        v, violation = nearest_in_hull(units.decoupled)
        shares = v * (units.divisors.min(axis=1)[:, None] / units.divisors)
        shares = np.where(some(zero)[:, None], zero, shares)
        weights = shares / shares.sum(axis=1)[:, None]
        # Of parallel gradients the solver may choose any, and the length of the update depends on the choice.
        parallel = np.triu(units.cosines, 1).max(axis=(1, 2)) > 1.0 - 1e-12
        self.solve_alone(~some(zero) & (parallel | ~(violation <= PRECISE)), weights, losses, gram)
        return weights

    def residual(self, losses: Rows | None, gram: Grams | None, weights: Rows) -> Vector | None:
        assert gram is not None
        units = directions(gram)
        shares = weights * units.lengths
        shares = shares / or_one(np.abs(shares).sum(axis=1))[:, None]
        products = times(units.cosines, shares)
        shortfall = (dot(shares, products)[:, None] - products).max(axis=1)
        worst = np.maximum(np.maximum(shortfall, -shares.min(axis=1)), np.abs(weights.sum(axis=1) - 1.0))
        on_zero = np.where(units.kept, 0.0, weights).sum(axis=1)
        misplaced = np.abs(on_zero - 1.0) + np.where(units.kept, np.abs(weights), 0.0).sum(axis=1)
        return np.where(every(units.kept), worst, misplaced)


@form_of(CAGrad)
class BatchedCAGrad(Batched):
    """Conflict-averse gradient descent."""

    method: CAGrad

    def compute(self, losses: Rows, gram: Grams) -> Rows:
        tasks = gram.shape[1]
        scaled = self._scaled(gram)
        shifts, gap = conflict_averse(scaled, self.method.c)
        weights = (1.0 / tasks + shifts) * self._factor(tasks)
        self.solve_alone(~(gap <= PRECISE), weights, losses, gram)
        return weights

    def residual(self, losses: Rows | None, gram: Grams | None, weights: Rows) -> Vector | None:
        assert gram is not None
        tasks, gradients = gram.shape[1], factor(self._scaled(gram))
        mean = gradients.mean(axis=1)
        radius = self.method.c * np.sqrt(dot(mean, mean))
        dual = weights / self._factor(tasks) - 1.0 / tasks
        dual_sum = dual.sum(axis=1)
        safe = np.where(dual_sum > 0.0, dual_sum, 1.0)
        shift = np.einsum("bi,bij->bj", dual, gradients)
        products = times(gradients, mean + shift)
        reach = np.maximum(np.sqrt(dot(shift, shift)) / safe, SMALLEST_SHIFT)
        gap = dot(dual, products) / safe - products.min(axis=1)
        worst = np.maximum(np.maximum(gap, -dual.min(axis=1)), np.abs(dual_sum * reach - radius) * reach)
        worst = np.where(dual_sum > 0.0, worst, np.inf)
        return np.where(radius > TOLERANCE * self.method.c, worst, np.abs(dual).max(axis=1))

    def _scaled(self, gram: Grams) -> Grams:
        """Return the Gram matrices of gradients with a mean square norm of 1."""
        square = np.trace(gram, axis1=1, axis2=2) / gram.shape[1]
        return gram / np.where(square > 0.0, square, 1.0)[:, None, None]

    def _factor(self, tasks: int) -> float:
        divisor = {"none": 1.0, "c2": 1.0 + self.method.c**2, "c": 1.0 + self.method.c}[self.method.rescale]
        return (tasks if self.method.reduction == "sum" else 1.0) / divisor
