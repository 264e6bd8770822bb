"""Methods with one defect each, which the certificate must find."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mtlbench import Method, Observation

COUNTER = itertools.count()


@dataclass
class Fine(Method):
    """Has no defect: it counts steps, draws numbers, and declares both."""

    name = "fine"
    symmetry = "in distribution"
    properties = frozenset({"homogeneous"})
    steps: int = field(default=0, init=False)

    def weights(self, observation: Observation) -> Any:
        self.steps += 1
        return (1.0 + self.generator.random(observation.tasks)) / self.steps


@dataclass
class WrongSign(Method):
    """Ascends."""

    name = "wrong-sign"

    def weights(self, observation: Observation) -> Any:
        return -np.ones(observation.tasks)


@dataclass
class GlobalGenerator(Method):
    """Draws from numpy's global generator."""

    name = "global-generator"
    symmetry = "in distribution"

    def weights(self, observation: Observation) -> Any:
        return 1.0 + np.random.random(observation.tasks)


@dataclass
class Drifting(Method):
    """Depends on a counter that no seed resets."""

    name = "drifting"

    def weights(self, observation: Observation) -> Any:
        return np.full(observation.tasks, 1.0 + next(COUNTER) % 7)


@dataclass
class Forgetful(Method):
    """Keeps its state outside state_dict()."""

    name = "forgetful"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.seen_before = 0

    def weights(self, observation: Observation) -> Any:
        self.seen_before += 1
        return np.full(observation.tasks, 1.0 / self.seen_before)


@dataclass
class SharedState(Method):
    """Returns its own state, so that writing to the weights changes the method."""

    name = "shared-state"
    buffer: Any = field(default=None, init=False)

    def weights(self, observation: Observation) -> Any:
        self.buffer = np.ones(observation.tasks) if self.buffer is None else self.buffer
        return self.buffer


@dataclass
class WritesOnGradients(Method):
    """Projects in place, on the engine's own buffer."""

    name = "writes-on-gradients"
    reads = "gradients"
    returns = "update"

    def update(self, observation: Observation) -> Any:
        observation.gradients[0] *= 0.5
        return observation.gradients.sum(dim=0)


@dataclass
class HeadLeakage(Method):
    """Declares plain heads, and has the engine weight them."""

    name = "head-leakage"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.heads = "weighted"  # type: ignore[misc]

    def weights(self, observation: Observation) -> Any:
        return np.full(observation.tasks, 0.5)


@dataclass
class OrderDependent(Method):
    """Favours the first task."""

    name = "order-dependent"

    def weights(self, observation: Observation) -> Any:
        return np.arange(observation.tasks, 0.0, -1.0)


@dataclass
class OrderDependentInDistribution(Method):
    """Favours the first task by random weights."""

    name = "order-dependent-in-distribution"
    symmetry = "in distribution"

    def weights(self, observation: Observation) -> Any:
        drawn = self.generator.random(observation.tasks)
        return 0.5 + drawn * (np.arange(observation.tasks) == 0)


@dataclass
class DividesByZero(Method):
    """Is not finite where a gradient is zero."""

    name = "divides-by-zero"

    def weights(self, observation: Observation) -> Any:
        with np.errstate(divide="ignore"):
            return 1.0 / np.sqrt(np.diagonal(observation.gram))


@dataclass
class Raises(Method):
    """Fails on singular matrices."""

    name = "raises"

    def weights(self, observation: Observation) -> Any:
        return np.abs(np.linalg.solve(observation.gram, np.ones(observation.tasks)))


@dataclass
class NotScaleFree(Method):
    """Claims to be homogeneous, with a bare epsilon in the way."""

    name = "not-scale-free"
    properties = frozenset({"homogeneous"})

    def weights(self, observation: Observation) -> Any:
        norms = np.sqrt(np.diagonal(observation.gram))
        return norms.mean() / (norms + 1e-2)


@dataclass
class StoppedEarly(Method):
    """Takes one Frank–Wolfe step on the problem of MGDA, and reports the violated conditions."""

    name = "stopped-early"

    def weights(self, observation: Observation) -> Any:
        weights = np.full(observation.tasks, 1.0 / observation.tasks)
        return 0.7 * weights + 0.3 * (np.arange(observation.tasks) == np.argmin(observation.gram @ weights))

    def residual(self, observation: Observation, weights: Any) -> float:
        along = observation.gram @ weights
        return float(max(0.0, weights @ along - along.min()) / (np.diagonal(observation.gram).max() or 1.0))


@dataclass
class FalseClaims(Method):
    """The plain sum with false claims."""

    name = "false-claims"
    scale = "mean"
    properties = frozenset({"non-conflicting", "stationary", "loss-scale invariant"})

    def weights(self, observation: Observation) -> Any:
        return np.ones(observation.tasks)


@dataclass
class Quadratic(Method):
    """Weights by norms, and claims linearity."""

    name = "quadratic"
    properties = frozenset({"linear under scaling"})

    def weights(self, observation: Observation) -> Any:
        return np.sqrt(np.diagonal(observation.gram))
