"""A method under examination: made afresh with any seed, and shown one step at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtlbench.check.families import Family
from mtlbench.contract.method import Method
from mtlbench.contract.observation import Matrix, Observation, Vector, observe


def losses_after(losses: Vector) -> Vector:
    """Return what a method that asks for the losses after the step is told: large losses fell by a larger share."""
    return losses / (1.0 + 0.1 * losses)


@dataclass(frozen=True)
class Instance:
    """One step's input: (K, P) task gradients, and (K,) losses."""

    rows: Matrix
    losses: Vector

    @property
    def length(self) -> float:
        """The norm of the longest task gradient."""
        return float(np.linalg.norm(self.rows, axis=1).max())

    def permuted(self, order: NDArray[np.int64]) -> Instance:
        """Return the same tasks in another order."""
        return Instance(self.rows[order], self.losses[order])

    def scaled(self, by: float | Vector, *, losses: bool = False) -> Instance:
        """Return gradients, and losses if asked, times one number or one for each task."""
        factor = np.broadcast_to(np.asarray(by, dtype=np.float64), self.losses.shape)
        return Instance(factor[:, None] * self.rows, self.losses * factor if losses else self.losses)


@dataclass(frozen=True)
class Subject:
    """A method by its spec, and a way to make it.

    :param make: returns a new object of the method, reseeded with the number given.
    """

    spec: str
    make: Callable[[int], Method]

    def method(self, seed: int = 0) -> Method:
        """Return a new object of the method."""
        return self.make(seed)

    def update(self, instance: Instance, seed: int = 0) -> Vector:
        """Return the first update of a new object."""
        return step(self.method(seed), instance)

    def updates(self, instances: list[Instance], seed: int = 0) -> list[Vector]:
        """Return the updates of one new object over several steps."""
        method = self.method(seed)
        return [step(method, instance) for instance in instances]

    def instances(self, family: Family, count: int, *, most_tasks: int = 8) -> Iterator[Instance]:
        """Draw matrices of a family: seeded, K from the method's least up to ``most_tasks``, P from 2 to 24."""
        draw = np.random.default_rng([len(family.__name__), *family.__name__.encode()])
        least = self.method().min_tasks
        for _ in range(count):
            tasks = int(draw.integers(least, max(least, most_tasks) + 1))
            rows = family(draw, tasks, int(draw.integers(2, 25)))
            yield Instance(rows, draw.uniform(0.1, 3.0, tasks))


def step(method: Method, instance: Instance) -> Vector:
    """Show a method one step, with what it declares that it reads and nothing else; return the (P,) update."""
    return weigh(method, instance)[0]


def weigh(method: Method, instance: Instance) -> tuple[Vector, Vector | None]:
    """As :func:`step`; return the update and the (K,) weights, ``None`` for methods that return updates."""
    seen = show(method, instance)
    if method.returns == "update":
        update, weights = method.update(seen).numpy(), None
    else:
        weights = np.asarray(method.weights(seen), dtype=np.float64)
        if weights.shape != instance.losses.shape:
            raise ValueError(f"weights of shape {weights.shape} for {len(instance.losses)} tasks")
        update = weights @ instance.rows
    if method.reads_after:
        method.after_step(losses_after(instance.losses))
    return update, weights


def show(method: Method, instance: Instance) -> Observation:
    """Return what the method declares that it reads, copied from the instance, and nothing else.

    A method that reads the products of two batches is shown two batches that agree: JJᵀ.
    """
    import torch

    rows = instance.rows
    return observe(
        method,
        losses=instance.losses.copy() if method.reads == "losses" or method.reads_losses != "no" else None,
        gram=rows @ rows.T if method.reads == "gram" else None,
        cross_gram=rows @ rows.T if method.reads == "cross_gram" else None,
        gradients=torch.tensor(rows) if method.reads == "gradients" else None,
    )
