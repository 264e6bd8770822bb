"""Batched forms of methods that keep or drop whole gradients: cosine-gate, krum."""

from __future__ import annotations

import numpy as np

from mtlbench.batched.arrays import Grams, Rows, diagonals
from mtlbench.batched.base import Batched
from mtlbench.batched.forms import form_of
from mtlbench.errors import UsageError
from mtlbench.methods.cosine_gate import CosineGate
from mtlbench.methods.krum import TIE, Krum


@form_of(CosineGate)
class BatchedCosineGate(Batched):
    """Gating of auxiliary tasks by the cosine to the main task's gradient."""

    method: CosineGate

    def compute(self, losses: Rows, gram: Grams) -> Rows:
        main, tasks = self.method.main, gram.shape[1]
        if main >= tasks:
            raise UsageError(f"method {self.method.name}: main={main} counts from 0, and there are {tasks} tasks")
        products = gram[:, main]
        weights = (products >= 0.0).astype(np.float64)
        if self.method.weighted:
            lengths = np.sqrt(diagonals(gram))
            lengths = lengths[:, [main]] * lengths
            weights = np.where(lengths > 0.0, np.maximum(products, 0.0) / np.where(lengths > 0.0, lengths, 1.0), 0.0)
        weights[:, main] = 1.0
        return weights


@form_of(Krum)
class BatchedKrum(Batched):
    """The gradients that are closest to their neighbours."""

    method: Krum

    def compute(self, losses: Rows, gram: Grams) -> Rows:
        tasks, selected = gram.shape[1], self.method.selected
        squares = diagonals(gram)
        sums = squares[:, :, None] + squares[:, None, :]
        distances = np.maximum(sums - 2.0 * gram, 0.0)
        distances[:, np.arange(tasks), np.arange(tasks)] = np.inf  # a gradient is not its own neighbour
        nearest = np.argsort(distances, axis=2)[:, :, : tasks - self.method.byzantine - 2]
        scores = np.take_along_axis(distances, nearest, axis=2).sum(axis=2)
        tolerance = TIE * np.take_along_axis(sums, nearest, axis=2).sum(axis=2)
        threshold = np.sort(scores, axis=1)[:, [selected - 1]]
        tied = np.abs(scores - threshold) <= tolerance
        selection = (scores < threshold) & ~tied
        share = (selected - selection.sum(axis=1)) / tied.sum(axis=1)
        return (selection + share[:, None] * tied) / selected
