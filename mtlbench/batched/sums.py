"""Batched forms of weighted sums: weights that are constants, or one formula of the step."""

from __future__ import annotations

import numpy as np

from mtlbench.batched.arrays import Grams, Rows
from mtlbench.batched.base import Batched
from mtlbench.batched.forms import form_of
from mtlbench.contract.observation import Observation
from mtlbench.methods.fixed import Fixed
from mtlbench.methods.mean import Mean
from mtlbench.methods.stl import SingleTask
from mtlbench.methods.sum import Sum


@form_of(Sum, Mean, SingleTask, Fixed)
class Constant(Batched):
    """The same weights for all problems and steps."""

    def compute(self, losses: Rows, gram: Grams) -> Rows:
        problems, tasks = (losses if losses.size else gram).shape[:2]
        weights = self.method.weights(Observation(losses=np.ones(tasks)))
        return np.tile(weights, (problems, 1))
