"""Batched forms of controls: lengths of the update or of every gradient (unit-step-sum, log-sum, unit-gradients)."""

from __future__ import annotations

import numpy as np

from mtlbench.batched.arrays import Grams, Rows, diagonals, or_one
from mtlbench.batched.base import Batched
from mtlbench.batched.forms import form_of
from mtlbench.batched.solvers.directions import directions
from mtlbench.methods.log_sum import LogSum
from mtlbench.methods.unit_gradients import UnitGradients
from mtlbench.methods.unit_step_sum import EPS, UnitStepSum


@form_of(UnitStepSum)
class BatchedUnitStepSum(Batched):
    """The plain sum with an update of length 1."""

    def compute(self, losses: Rows, gram: Grams) -> Rows:
        tasks = gram.shape[1]
        lengths = np.sqrt(diagonals(gram))
        scale = or_one(lengths.max(axis=1))
        squared = (gram / scale[:, None, None] / scale[:, None, None]).sum(axis=(1, 2))
        rounding = tasks * EPS * (lengths / scale[:, None]).sum(axis=1) ** 2
        weight = np.where(squared <= rounding, 0.0, 1.0 / (scale * np.sqrt(np.where(squared > 0.0, squared, 1.0))))
        return np.repeat(weight[:, None], tasks, axis=1)


@form_of(LogSum)
class BatchedLogSum(Batched):
    """The logarithm of the summed loss."""

    def compute(self, losses: Rows, gram: Grams) -> Rows:
        return np.repeat(1.0 / losses.sum(axis=1, keepdims=True), losses.shape[1], axis=1)


@form_of(UnitGradients)
class BatchedUnitGradients(Batched):
    """Every gradient scaled to one length."""

    method: UnitGradients

    def compute(self, losses: Rows, gram: Grams) -> Rows:
        units = directions(gram)
        if self.method.length == "sum":
            length = np.sqrt(np.maximum(gram.sum(axis=(1, 2)), 0.0))
        elif self.method.length == "mean":
            length = units.lengths.sum(axis=1) / np.maximum(units.kept.sum(axis=1), 1)
        else:
            length = units.lengths.max(axis=1) if self.method.length == "max" else np.ones(len(gram))
        return np.where(units.kept, length[:, None] / units.divisors, 0.0)
