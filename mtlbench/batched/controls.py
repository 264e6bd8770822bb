"""Batched forms of the controls: log-sum, unit-gradients, unit-step-sum."""

from __future__ import annotations

import numpy as np

from mtlbench.batched.arrays import Grams, Rows, diagonals, or_one
from mtlbench.batched.base import Batched
from mtlbench.batched.forms import form_of
from mtlbench.batched.solvers.directions import Directions, directions
from mtlbench.contract.observation import Vector
from mtlbench.methods.log_sum import LogSum
from mtlbench.methods.unit_gradients import UnitGradients
from mtlbench.methods.unit_step_sum import EPS, UnitStepSum


@form_of(LogSum)
class BatchedLogSum(Batched):
    """Logarithm of the sum of the losses."""

    def compute(self, losses: Rows, gram: Grams) -> Rows:
        return np.repeat(1.0 / losses.sum(axis=1, keepdims=True), losses.shape[1], axis=1)


@form_of(UnitGradients)
class BatchedUnitGradients(Batched):
    """Sum of the gradients' directions, times one length."""

    method: UnitGradients

    def compute(self, losses: Rows, gram: Grams) -> Rows:
        units = directions(gram)
        return np.where(units.kept, self._length(units, gram)[:, None] / units.divisors, 0.0)

    def _length(self, units: Directions, gram: Grams) -> Vector:
        """Return the (B,) length that every gradient is scaled to."""
        if self.method.length == "sum":
            return np.sqrt(np.maximum(gram.sum(axis=(1, 2)), 0.0))
        if self.method.length == "max":
            return np.asarray(units.lengths.max(axis=1))
        if self.method.length == "one":
            return np.ones(len(gram))
        return np.asarray(units.lengths.sum(axis=1) / or_one(units.kept.sum(axis=1).astype(np.float64)))


@form_of(UnitStepSum)
class BatchedUnitStepSum(Batched):
    """Sum with an update of length 1; 0 where the sum has no direction."""

    def compute(self, losses: Rows, gram: Grams) -> Rows:
        tasks = gram.shape[1]
        lengths = np.sqrt(diagonals(gram))
        scale = or_one(lengths.max(axis=1))
        squared = (gram / scale[:, None, None] / scale[:, None, None]).sum(axis=(1, 2))
        rounding = tasks * EPS * (lengths / scale[:, None]).sum(axis=1) ** 2
        has_direction = squared > rounding
        length = scale * np.sqrt(np.where(has_direction, squared, 1.0))
        return np.repeat(np.where(has_direction, 1.0 / length, 0.0)[:, None], tasks, axis=1)
