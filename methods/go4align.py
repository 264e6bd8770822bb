"""GO4Align: tasks in groups of similar risk, each group with one weight."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mtlbench import Matrix, Method, Observation, Vector


@dataclass
class GO4Align(Method):
    """Group optimization for multi-task alignment.

    Shares p of the tasks fall with their losses over all steps so far, γ brings all tasks to one scale, and the tasks
    are split into G groups of similar γ::

        p ← normalise(p ⊙ exp(−βL)), p = 1/K at first;    γᵢ = pᵢ L̄/Lᵢ;    wᵢ = mean of γ over the group of task i

    with the mean loss L̄. The weights apply to the whole loss, heads included. With one group the weights are equal, a
    scaled sum; with G = K groups, task i contributes pᵢ L̄ to the loss.

    Solver: the best split of K numbers is contiguous in sorted order, so it is found exactly by dynamic programming,
    whereas the authors' code starts k-means at random points (the released code cannot run with several groups: the
    import is commented out). Equal γ always share a group. Logarithms of p are kept, because p underflows.

    Deviation: γ has the mean of the losses, as in the paper; the authors' code has their sum, K times as much. The
    paper tunes β and 1 < G ≤ K on validation data and gives no table of the values; the code's default is one group.
    """

    name = "go4align"
    reads = "losses"
    heads = "weighted"
    state = "K"
    properties = frozenset({"homogeneous", "linear under scaling"})
    source = "Shen et al., GO4Align: Group Optimization for Multi-Task Alignment, NeurIPS 2024"
    search = {"step_size": "1e-5:1:log", "groups": "2/3/4"}

    step_size: Annotated[float, Field(ge=0, description="β: step size of the shares p")] = 1e-4
    groups: Annotated[int, Field(ge=1, description="G: number of groups; with fewer tasks, one a task")] = 2

    logits: Vector | None = field(default=None, init=False)

    @property
    def reads_losses(self) -> Literal["no", "any", "positive"]:
        return "positive"

    def weights(self, observation: Observation) -> Vector:
        from scipy.special import softmax

        losses = observation.losses
        logits = (0.0 if self.logits is None else self.logits) - self.step_size * losses
        self.logits = logits - logits.max()
        return _group_means(softmax(self.logits) * losses.mean() / losses, self.groups)


def _group_means(values: Vector, groups: int) -> Vector:
    """Return every value's mean over its group, in the split into groups with the least squared distances to means."""
    distinct, position, counts = np.unique(values, return_inverse=True, return_counts=True)
    count = len(distinct)
    spreads = _spreads(distinct, counts.astype(np.float64))
    best, first = spreads[0].copy(), np.zeros((count, 1), int)  # of one group that ends at each value
    for _ in range(1, min(groups, count)):
        totals = np.full((count, count), np.inf)
        for start in range(1, count):
            totals[start:, start] = best[start - 1] + spreads[start, start:]
        starts = totals.argmin(axis=1)
        best, first = totals.min(axis=1), np.column_stack([first, starts])
    means, end = np.empty(count), count
    for starts in first.T[::-1]:
        start = int(starts[end - 1])
        means[start:end] = np.average(distinct[start:end], weights=counts[start:end])
        end = start
    return means[position]


def _spreads(distinct: Vector, counts: Vector) -> Matrix:
    """Return the (N, N) squared distances of the values from i to j to their mean."""
    size = len(distinct)
    spreads = np.zeros((size, size))
    for start in range(size):
        for end in range(start + 1, size):
            part, weights = distinct[start : end + 1], counts[start : end + 1]
            spreads[start, end] = weights @ (part - np.average(part, weights=weights)) ** 2
    return spreads
