"""Batched forms of methods on running statistics of the losses: cov-weighting, ema-scaling, group-dro, igb, lbtw."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import softmax

from mtlbench.batched.arrays import Grams, Rows, or_one
from mtlbench.batched.base import Batched
from mtlbench.batched.forms import form_of
from mtlbench.methods.cov_weighting import CoVWeighting
from mtlbench.methods.ema_scaling import EMAScaling
from mtlbench.methods.group_dro import GroupDRO
from mtlbench.methods.igb import IGB
from mtlbench.methods.lbtw import LBTW


@form_of(CoVWeighting)
class BatchedCoVWeighting(Batched):
    """Weights by coefficients of variation."""

    method: CoVWeighting
    steps = 0
    mean_loss: Rows
    mean_ratio: Rows
    variance: Rows

    def compute(self, losses: Rows, gram: Grams) -> Rows:
        weights = np.full_like(losses, 1.0 / losses.shape[1])
        if self.steps > 1:
            variation = np.sqrt(self.variance) / self.mean_ratio
            total = variation.sum(axis=1, keepdims=True)
            weights = np.where(total == 0.0, weights, variation / or_one(total))
        if self.steps == 0:
            self.mean_loss, self.mean_ratio, self.variance = losses.copy(), np.ones_like(losses), np.zeros_like(losses)
        else:
            past = self.method.decay or self.steps / (self.steps + 1)
            ratios = losses / self.mean_loss
            before = ratios - self.mean_ratio
            self.mean_ratio = past * self.mean_ratio + (1.0 - past) * ratios
            self.variance = past * self.variance + (1.0 - past) * before * (ratios - self.mean_ratio)
            self.mean_loss = past * self.mean_loss + (1.0 - past) * losses
        self.steps += 1
        return weights


@form_of(EMAScaling)
class BatchedEMAScaling(Batched):
    """Every loss divided by its running mean."""

    method: EMAScaling
    mean: Rows | None = None
    """(B, K) running means of the losses."""

    def compute(self, losses: Rows, gram: Grams) -> Rows:
        decay = self.method.decay
        self.mean = losses.copy() if self.mean is None else decay * self.mean + (1.0 - decay) * losses
        return 1.0 / self.mean


@form_of(GroupDRO)
class BatchedGroupDRO(Batched):
    """Exponentiated-gradient ascent in the shares of the tasks."""

    method: GroupDRO
    logits: Rows | None = None
    """(B, K) logarithms of the shares, up to a constant."""

    def compute(self, losses: Rows, gram: Grams) -> Rows:
        gain = self.method.step_size * losses
        logits = gain if self.logits is None else self.logits + gain
        self.logits = logits - logits.max(axis=1, keepdims=True)
        return softmax(self.logits, axis=1)


@form_of(IGB)
class BatchedIGB(Batched):
    """Improvable gap balancing."""

    method: IGB
    steps = 0
    total: Rows | float = 0.0
    """(B, K) sum of the losses over the second half of the warm-up."""

    def compute(self, losses: Rows, gram: Grams) -> Rows:
        counted = math.ceil(self.method.warmup / 2)
        if self.steps < self.method.warmup:
            self.steps += 1
            if self.steps > self.method.warmup - counted:
                self.total = losses + self.total
            return 1.0 / losses
        return losses.shape[1] * softmax(losses * counted / self.total, axis=1) / losses


@form_of(LBTW)
class BatchedLBTW(Batched):
    """Weights from the share of its first loss that every task still has."""

    method: LBTW
    steps = 0
    first: Rows
    """(B, K) losses of the first step, or of the last renewal."""

    def compute(self, losses: Rows, gram: Grams) -> Rows:
        if self.steps == 0 or (self.method.renew and self.steps % self.method.renew == 0):
            self.first = losses.copy()
        self.steps += 1
        ratios = (losses / self.first) ** self.method.alpha
        return losses.shape[1] * ratios / ratios.sum(axis=1, keepdims=True)
