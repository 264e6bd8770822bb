"""Batched forms of methods that follow the losses or norms over the steps: dwa, stch, metabalance."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import softmax

from mtlbench.batched.arrays import Grams, Rows, diagonals, some
from mtlbench.batched.base import Batched
from mtlbench.batched.forms import form_of
from mtlbench.contract.observation import above_zero
from mtlbench.errors import UsageError
from mtlbench.methods.dwa import DWA
from mtlbench.methods.metabalance import MetaBalance
from mtlbench.methods.stch import STCH


@form_of(DWA)
class BatchedDWA(Batched):
    """Dynamic weight average."""

    method: DWA
    total: Rows | None = None
    """(B, K) sum of the losses of the present window."""
    last: Rows | None = None
    """(B, K) mean losses of the last window."""
    before_last: Rows | None = None
    """(B, K) mean losses of the window before it."""
    steps = 0
    """Number of steps of the present window."""

    def compute(self, losses: Rows, gram: Grams) -> Rows:
        weights = np.ones_like(losses)
        if self.last is not None and self.before_last is not None:
            rates = self.last / self.before_last
            weights = losses.shape[1] * softmax(rates / self.method.temperature, axis=1)
        self.total = losses.copy() if self.total is None else self.total + losses
        self.steps += 1
        if self.steps == self.method.window:
            self._end_window(self.total / self.steps)
        return weights

    def _end_window(self, mean: Rows) -> None:
        fault = f" takes ratios of mean losses, so none of {self.steps} steps may be negative: "
        self.fail_where(some(mean < 0.0), mean, fault)
        self.last, self.before_last = above_zero(mean), self.last
        self.total, self.steps = None, 0


@form_of(STCH)
class BatchedSTCH(Batched):
    """Smooth Tchebycheff scalarization."""

    method: STCH
    steps = 0
    total: Rows | float = 0.0
    """(B, K) sum of the losses over the last fifth of the warm-up."""

    def compute(self, losses: Rows, gram: Grams) -> Rows:
        nadir_steps = math.ceil(self.method.warmup / 5)
        if self.steps < self.method.warmup:
            self.steps += 1
            if self.steps > self.method.warmup - nadir_steps:
                self.total = losses + self.total
            return 1.0 / losses
        nadir = self.total / nadir_steps
        return losses.shape[1] * softmax(np.log(losses / nadir) / self.method.mu, axis=1) / losses


@form_of(MetaBalance)
class BatchedMetaBalance(Batched):
    """Balancing of the auxiliary gradients' lengths against the main task's."""

    method: MetaBalance
    lengths: Rows | float = 0.0
    """(B, K) moving averages of the gradient norms."""

    def compute(self, losses: Rows, gram: Grams) -> Rows:
        method, tasks = self.method, gram.shape[1]
        if method.main >= tasks:
            raise UsageError(f"method {method.name}: main={method.main} counts from 0, and there are {tasks} tasks")
        norms = np.sqrt(diagonals(gram))
        self.lengths = lengths = method.beta * self.lengths + (1.0 - method.beta) * norms
        main = lengths[:, [method.main]]
        nonzero = lengths > 0.0
        weights = method.relax * main / np.where(nonzero, lengths, 1.0) + (1.0 - method.relax)
        if method.strategy != "both":
            rescaled = lengths > main if method.strategy == "reduce" else lengths < main
            weights = np.where(rescaled, weights, 1.0)
        weights = np.where(nonzero, weights, 0.0)
        weights[:, method.main] = 1.0
        return weights
