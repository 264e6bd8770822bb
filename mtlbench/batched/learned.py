"""Batched forms of methods that learn one number per task: uw, imtl-l, gradnorm, famo."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import softmax

from mtlbench.batched.arrays import Grams, Rows, diagonals, every, some
from mtlbench.batched.base import Batched
from mtlbench.batched.forms import form_of
from mtlbench.contract.method import Method
from mtlbench.errors import UsageError
from mtlbench.methods import famo, gradnorm
from mtlbench.methods.famo import FAMO
from mtlbench.methods.gradnorm import GradNorm
from mtlbench.methods.imtl_l import IMTLL
from mtlbench.methods.uw import UncertaintyWeighting
from mtlbench.solvers.adam import Adam


class Learned(Batched):
    """Base of forms that learn (B, K) values by Adam. The number of steps is the same for all problems."""

    values: Rows | None = None
    """(B, K) learned values, ``None`` before the first step."""

    def __init__(self, method: Method, seeds: Sequence[int], drawn_by: str | None = None) -> None:
        super().__init__(method, seeds, drawn_by)
        self.adam = Adam()  # works on arrays of any shape


@form_of(UncertaintyWeighting)
class BatchedUW(Learned):
    """Uncertainty weighting; the values are the log-variances s."""

    method: UncertaintyWeighting

    def compute(self, losses: Rows, gram: Grams) -> Rows:
        self.fail_where(some(losses < 0.0), losses, " needs losses that are not negative: ")
        s = np.zeros_like(losses) if self.values is None else self.values
        weights: Rows = (0.5 if self.method.form == "regression" else 1.0) * np.exp(-s)
        self.values = self.adam.step(s, 0.5 - weights * losses, self.method.lr)
        return weights


@form_of(IMTLL)
class BatchedIMTLL(Learned):
    """Loss balance of impartial multi-task learning; the values are the log-factors s."""

    method: IMTLL

    def compute(self, losses: Rows, gram: Grams) -> Rows:
        self.fail_where(some(losses < 0.0), losses, " needs losses that are not negative: ")
        s = np.zeros_like(losses) if self.values is None else self.values
        weights: Rows = np.exp(s)
        self.values = self.adam.step(s, weights * losses - 1.0, self.method.lr)
        return weights


@form_of(GradNorm)
class BatchedGradNorm(Learned):
    """Gradient normalization; the values are the weights of the tasks."""

    method: GradNorm
    first_losses: Rows

    def compute(self, losses: Rows, gram: Grams) -> Rows:
        norms = np.sqrt(np.clip(diagonals(gram), 0.0, None))
        if self.values is None:
            self.values, self.first_losses = np.ones_like(losses), losses.copy()
        weights = self.values
        rates = losses / np.where(self.first_losses > 0.0, self.first_losses, 1.0)
        mean = rates.mean(axis=1, keepdims=True)
        rates = rates / np.where(mean == 0.0, 1.0, mean)
        weighted_norms = weights * norms
        target = weighted_norms.mean(axis=1, keepdims=True) * np.clip(rates, 0.0, None) ** self.method.alpha
        slopes = np.sign(weighted_norms - target) * norms
        updated = self.adam.step(weights, slopes, self.method.lr, epsilon=gradnorm.EPSILON)
        updated = np.maximum(updated, 1e-3)
        self.values = updated.shape[1] * updated / updated.sum(axis=1, keepdims=True)
        return weights.copy()


@form_of(FAMO)
class BatchedFAMO(Learned):
    """Fast adaptive multitask optimization; the values are the logits ξ."""

    method: FAMO
    before: Rows | None = None
    """(B, K) losses of the last step, ``None`` once :meth:`after_step` has used them."""

    def compute(self, losses: Rows, gram: Grams) -> Rows:
        if self.before is not None:
            raise UsageError("method famo: call method.after_step(losses) after every optimizer step")
        minimum = self.method.minimum
        low = some(losses < minimum)
        self.fail_where(low, losses, f": losses must be at least minimum={minimum}, got ")
        self.before = losses.copy()
        if self.values is None:
            self.values = np.zeros_like(losses)
        shares = softmax(self.values, axis=1) / (losses - minimum + famo.EPSILON)
        return shares / shares.sum(axis=1, keepdims=True)

    def learn(self, losses: Rows) -> None:
        if self.before is None or self.values is None:
            raise UsageError("method famo: after_step was called without a step before it")
        minimum = self.method.minimum
        invalid = ~every(np.isfinite(losses) & (losses >= minimum))
        tasks = losses.shape[1]
        fault = f": after_step takes {tasks} finite losses of at least minimum={minimum}, got "
        self.fail_where(invalid, losses, fault)
        improvements = np.log(self.before - minimum + famo.EPSILON) - np.log(losses - minimum + famo.EPSILON)
        z = softmax(self.values, axis=1)
        gradient = z * (improvements - (z * improvements).sum(axis=1, keepdims=True))
        self.values = self.adam.step(self.values, gradient, self.method.lr, weight_decay=self.method.gamma)
        self.before = None
