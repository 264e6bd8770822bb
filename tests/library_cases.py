"""Models and methods for the tests of the library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import torch
from torch import nn

from mtlbench import UsageError
from mtlbench.contract.method import Method, Parameters, Reads
from mtlbench.contract.observation import Matrix, Observation, Vector

TASKS = 3


class Toy(nn.Module):
    """A trunk of two layers and three heads, in float64. The losses share one graph of the trunk."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.trunk = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 4))
        self.heads = nn.ModuleList(nn.Linear(4, 1) for _ in range(TASKS))
        self.inputs, self.targets = torch.randn(12, 5), torch.randn(12, TASKS)
        self.double()
        self.inputs, self.targets = self.inputs.double(), self.targets.double()

    def losses(self) -> list[torch.Tensor]:
        features = self.trunk(self.inputs)
        return [
            ((head(features)[:, 0] - target) ** 2).mean() * 3.0**task
            for task, (head, target) in enumerate(zip(self.heads, self.targets.T, strict=True))
        ]

    @property
    def shared(self) -> list[nn.Parameter]:
        return list(self.trunk.parameters())

    def jacobian(self) -> Matrix:
        losses = self.losses()
        return np.stack([flat(torch.autograd.grad(loss, self.shared, retain_graph=True)) for loss in losses])

    def update(self) -> Matrix:
        return flat([parameter.grad for parameter in self.shared])

    def head_update(self, task: int) -> Matrix:
        return flat([parameter.grad for parameter in self.heads[task].parameters()])

    def head_gradient(self, task: int) -> Matrix:
        return flat(torch.autograd.grad(self.losses()[task], list(self.heads[task].parameters())))


def flat(tensors: Sequence[torch.Tensor | None]) -> Matrix:
    return torch.cat([tensor.detach().flatten() for tensor in tensors if tensor is not None]).numpy()


def fault(function: Any, *given: Any, **options: Any) -> str:
    with pytest.raises(UsageError) as caught:
        function(*given, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@dataclass
class Named(Method):
    """A method named M that declares what a test asks for, and weights everything by 1."""

    name = "M"
    reads: Reads = "gram"  # type: ignore[misc]
    losses: Literal["no", "any", "positive"] = "no"
    least: int = 1

    @property
    def reads_losses(self) -> Literal["no", "any", "positive"]:
        return self.losses

    @property
    def min_tasks(self) -> int:
        return self.least

    def weights(self, seen: Observation) -> Vector:
        return np.ones(seen.tasks)


EYE = np.eye(2)


@dataclass
class Biggest(Method):
    """Returns, in every coordinate, the largest gradient; ``change`` spoils it."""

    name = "biggest"
    reads: ClassVar[Reads] = "gradients"
    returns: ClassVar[Literal["weights", "update"]] = "update"
    change: Any = None

    def update(self, seen: Observation) -> torch.Tensor:
        actual = seen.gradients.max(dim=0).values
        return actual if self.change is None else self.change(actual)


@dataclass
class Signs(Method):
    """Weights a task by the share of its positive coordinates: no inner product says that."""

    name = "signs"
    reads: ClassVar[Reads] = "gradients"

    def weights(self, seen: Observation) -> Vector:
        return np.asarray((seen.gradients > 0.0).double().mean(dim=1).numpy())


@dataclass
class Between(Method):
    """Keeps the products of two further batches, and weights by their diagonal."""

    name = "between"
    reads: ClassVar[Reads] = "cross_gram"
    seen: Any = field(default=None, init=False)

    def weights(self, seen: Observation) -> Vector:
        self.seen = seen.cross_gram
        return np.diagonal(seen.cross_gram).copy()


@dataclass
class Representation(Method):
    """Weights by the squared norms of the representation's gradients."""

    name = "of-representation"
    seen: Any = field(default=None, init=False)

    @property
    def gram_of(self) -> Parameters:
        return "representation"

    def weights(self, seen: Observation) -> Vector:
        self.seen = seen.gram
        return np.diagonal(seen.gram).copy()
