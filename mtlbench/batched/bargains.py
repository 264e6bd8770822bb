"""Batched forms of nash-mtl and fairgrad: fair shares of the update."""

from __future__ import annotations

import numpy as np

from mtlbench.batched.arrays import Grams, Rows
from mtlbench.batched.base import Batched
from mtlbench.batched.forms import form_of
from mtlbench.batched.solvers import PRECISE
from mtlbench.batched.solvers.balance import balanced, imbalance
from mtlbench.batched.solvers.directions import Directions, directions
from mtlbench.contract.observation import Vector
from mtlbench.methods.fairgrad import FairGrad
from mtlbench.methods.nash_mtl import NashMTL
from mtlbench.solvers import RIDGE


@form_of(NashMTL)
class BatchedNash(Batched):
    """Multi-task learning as a bargaining game."""

    method: NashMTL
    steps = 0
    used: Rows | None = None
    """(B, K) weights of the last solution."""

    @property
    def stateless(self) -> bool:
        return self.method.every == 1

    def compute(self, losses: Rows, gram: Grams) -> Rows:
        if self.used is None or self.steps % self.method.every == 0:
            self.used = self._solve(losses, gram)
        self.steps += 1
        return self.used.copy()

    def _solve(self, losses: Rows, gram: Grams) -> Rows:
        units = directions(gram)
        if gram.shape[1] == 2:  # by symmetry both yᵢ are equal: y² (1 + c) = 1
            cosine = np.maximum(units.decoupled[:, 0, 1], -1.0)
            y, violation = (1.0 / np.sqrt(1.0 + cosine + RIDGE))[:, None], np.zeros(len(gram))
        else:
            y, violation = balanced(units.decoupled, np.ones_like(units.lengths), power=1.0)
        weights = np.where(units.kept, y / units.divisors, 0.0)
        self.solve_alone(~(violation <= PRECISE), weights, losses, gram)
        return weights

    def residual(self, losses: Rows | None, gram: Grams | None, weights: Rows) -> Vector | None:
        assert gram is not None
        if self.method.every > 1:
            return None
        units = directions(gram)
        y = np.where(units.kept, weights * units.lengths, 1.0)
        return imbalance(units.decoupled, np.ones_like(y), 1.0, y)


@form_of(FairGrad)
class BatchedFairGrad(Batched):
    """Fair resource allocation."""

    method: FairGrad

    def compute(self, losses: Rows, gram: Grams) -> Rows:
        units = directions(gram)
        prices, scale = self._prices(units)
        y, violation = balanced(units.decoupled, prices, 1.0 / self.method.alpha)
        weights = np.where(units.kept, scale[:, None] * y / units.divisors, 0.0)
        self.solve_alone(~(violation <= PRECISE), weights, losses, gram)
        return weights

    def residual(self, losses: Rows | None, gram: Grams | None, weights: Rows) -> Vector | None:
        assert gram is not None
        units = directions(gram)
        prices, scale = self._prices(units)
        y = np.where(units.kept, weights * units.lengths / scale[:, None], 1.0)
        return imbalance(units.decoupled, prices, 1.0 / self.method.alpha, y)

    def _prices(self, units: Directions) -> tuple[Rows, Vector]:
        """Return the (B, K) bᵢ, 1 for zero gradients, and the (B,) common scale of the solution."""
        power = 1.0 / self.method.alpha
        logs = np.log(units.divisors)  # 0 for zero gradients
        mean = logs.sum(axis=1) / np.maximum(units.kept.sum(axis=1), 1)
        prices = np.where(units.kept, np.exp((logs - mean[:, None]) * (power - 1.0)), 1.0)
        return prices, np.exp(mean * (power - 1.0) / (power + 1.0))
