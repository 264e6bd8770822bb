"""A model with linear losses, whose gradients are the slopes that a test chooses; methods that record their input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import torch
from torch import nn

from mtlbench import Method, Observation, Vector
from mtlbench.contract.method import Parameters, Reads
from mtlbench.engine.loop import LoopEngine, TaskLoss
from mtlbench.engine.step import Forward, Step

TASKS, SIZE = 3, 11
WEIGHTS = np.array([0.3, 1.7, 0.9])
BOTH = pytest.mark.parametrize("measure", [False, True])


class Linear:
    """Task i on batch b: the loss 2 + ⟨slopes[b, i], θ⟩ + (i + 1) Σ headᵢ, at θ = 0; batches 0, 1 and 2 differ."""

    def __init__(self, dtype: torch.dtype = torch.float64, scale: float = 1.0) -> None:
        draw = torch.Generator().manual_seed(0)
        self.slopes = scale * torch.randn(3, TASKS, SIZE, generator=draw, dtype=dtype)
        self.shared = [nn.Parameter(torch.zeros(5, dtype=dtype)), nn.Parameter(torch.zeros(2, 3, dtype=dtype))]
        self.heads = [nn.Parameter(torch.ones(2, dtype=dtype)) for _ in range(TASKS)]
        self.calls: list[tuple[int, int]] = []

    def forward(self, task: int, batch: int) -> Forward:
        self.calls.append((task, batch))
        theta = torch.cat([parameter.flatten() for parameter in self.shared])
        return Forward(2.0 + self.slopes[batch, task] @ theta + (task + 1) * self.heads[task].sum())

    def step(self, method: Method, *, match_sum: bool = False, measure: bool = False) -> Step:
        tasks = [TaskLoss(lambda batch, i=i: self.forward(i, batch), [self.heads[i]]) for i in range(TASKS)]  # type: ignore[misc]
        return LoopEngine(self.shared, [], match_sum=match_sum).step(method, tasks, measure=measure)

    @property
    def rows(self) -> torch.Tensor:
        return self.slopes[0]

    def update(self) -> torch.Tensor:
        return torch.cat([gradient_of(parameter).flatten() for parameter in self.shared])


def gradient_of(parameter: torch.Tensor) -> torch.Tensor:
    assert parameter.grad is not None
    return parameter.grad


@dataclass
class Recorder(Method):
    """Returns fixed weights, and records its input."""

    name = "recorder"
    reads: ClassVar[Reads] = "losses"
    answer: Any = (0.3, 1.7, 0.9)
    clip: float | None = None
    observed: Any = field(default=None, init=False)

    @property
    def clip_norm(self) -> float | None:
        return self.clip

    def weights(self, observation: Observation) -> Vector:
        self.observed = observation
        return np.array(self.answer)


@dataclass
class ReadsGram(Recorder):
    """The same, from the Gram matrix."""

    name = "gram"
    reads: ClassVar[Reads] = "gram"


@dataclass
class ReadsGradients(Recorder):
    """The same, from the gradients."""

    name = "gradients"
    reads: ClassVar[Reads] = "gradients"

    def weights(self, observation: Observation) -> Vector:
        self.observed = observation.gradients.clone()
        return np.array(self.answer)


@dataclass
class ReadsTwoBatches(Recorder):
    """The same, from the products of two more batches."""

    name = "two-batches"
    reads: ClassVar[Reads] = "cross_gram"


@dataclass
class ReadsRepresentation(ReadsGram):
    """The same, from the gradients of the representation."""

    name = "representation"

    @property
    def gram_of(self) -> Parameters:
        return "representation"


@dataclass
class Median(ReadsGradients):
    """Returns an update: the median of the gradients in every coordinate."""

    name = "median"
    returns: ClassVar[Literal["weights", "update"]] = "update"
    change: Callable[[torch.Tensor], Any] = lambda update: update

    def update(self, observation: Observation) -> torch.Tensor:
        self.observed = observation.gradients.clone()
        return self.change(observation.gradients.median(dim=0).values)


@dataclass
class LogHeads(Recorder):
    """Heads descend the logarithm."""

    name = "log-heads"
    heads: ClassVar[Literal["plain", "weighted", "log"]] = "log"


ALL: list[type[Recorder]] = [Recorder, ReadsGram, ReadsGradients, ReadsTwoBatches, Median, LogHeads]
