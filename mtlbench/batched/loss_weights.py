"""Batched forms of methods that compute weights from the losses of one step: bmtl, gls, si, uw-so."""

from __future__ import annotations

import numpy as np
from scipy.special import softmax

from mtlbench.batched.arrays import Grams, Rows
from mtlbench.batched.base import Batched
from mtlbench.batched.forms import form_of
from mtlbench.methods.bmtl import BMTL
from mtlbench.methods.gls import GLS
from mtlbench.methods.si import ScaleInvariant
from mtlbench.methods.uw_so import SoftOptimalUncertainty


@form_of(BMTL)
class BatchedBMTL(Batched):
    """Softmax of the losses."""

    method: BMTL

    def compute(self, losses: Rows, gram: Grams) -> Rows:
        return losses.shape[1] * softmax(losses / self.method.temperature, axis=1)


@form_of(GLS)
class BatchedGLS(Batched):
    """Weights of the geometric mean of the losses."""

    def compute(self, losses: Rows, gram: Grams) -> Rows:
        logs = np.log(losses)
        return np.exp(logs.mean(axis=1, keepdims=True) - logs) / losses.shape[1]


@form_of(ScaleInvariant)
class BatchedSI(Batched):
    """Weights of the sum of the log-losses."""

    def compute(self, losses: Rows, gram: Grams) -> Rows:
        return 1.0 / losses


@form_of(SoftOptimalUncertainty)
class BatchedUWSO(Batched):
    """Softmax of the inverse losses."""

    method: SoftOptimalUncertainty

    def compute(self, losses: Rows, gram: Grams) -> Rows:
        smallest = losses.min(axis=1, keepdims=True)
        shares = np.exp((smallest - losses) / losses / smallest / self.method.temperature)
        return shares / shares.sum(axis=1, keepdims=True)
