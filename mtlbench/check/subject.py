"""The method under test, and the steps that it is called with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtlbench.check.families import Family
from mtlbench.contract.method import Method
from mtlbench.contract.method_input import observe
from mtlbench.contract.observation import Matrix, Observation, Vector


def losses_after(losses: Vector) -> Vector:
    """Return losses after a step, for methods that read them: large losses fall by a larger share.

    :param losses: (K,) losses before the step.
    """
    return losses / (1.0 + 0.1 * losses)


@dataclass(frozen=True)
class Instance:
    """The input of one step.

    :param rows: (K, P) task gradients.
    :param losses: (K,) losses.
    """

    rows: Matrix
    losses: Vector

    @property
    def length(self) -> float:
        """The norm of the longest task gradient."""
        return float(np.linalg.norm(self.rows, axis=1).max())

    def permuted(self, order: NDArray[np.int64]) -> Instance:
        """Return the tasks in another order.

        :param order: (K,) old positions of the tasks, in the new order.
        """
        return Instance(self.rows[order], self.losses[order])

    def scaled(self, by: float | Vector, *, losses: bool = False) -> Instance:
        """Return the instance with multiplied gradients.

        :param by: one factor, or (K,) factors of the tasks.
        :param losses: whether to multiply the losses, too.
        """
        factor = np.broadcast_to(np.asarray(by, dtype=np.float64), self.losses.shape)
        return Instance(factor[:, None] * self.rows, self.losses * factor if losses else self.losses)


@dataclass(frozen=True)
class Subject:
    """The method under test.

    :param spec: its spec.
    :param make: returns a new object of the method for a seed.
    :param most_tasks: the largest number of tasks that it is tried with.
    :param least_tasks: the smallest one, if the method's own minimum is not larger.
    """

    spec: str
    make: Callable[[int], Method]
    most_tasks: int = 8
    least_tasks: int = 1

    def method(self, seed: int = 0) -> Method:
        """Return a new object of the method."""
        return self.make(seed)

    def update(self, instance: Instance, seed: int = 0) -> Vector:
        """Return the (P,) first update of a new object."""
        return step(self.method(seed), instance)

    def updates(self, instances: list[Instance], seed: int = 0) -> list[Vector]:
        """Return the (P,) updates of one new object over several steps."""
        method = self.method(seed)
        return [step(method, instance) for instance in instances]

    def instances(self, family: Family, count: int, *, most_tasks: int = 8) -> Iterator[Instance]:
        """Yield instances of a family, always the same ones, with P from 2 to 24.

        :param family: the family of the task gradients.
        :param count: the number of instances.
        :param most_tasks: the largest K, if the subject's is not smaller; the smallest is the method's own minimum.
        """
        most_tasks = min(most_tasks, self.most_tasks)
        draw = np.random.default_rng([len(family.__name__), *family.__name__.encode()])
        fewest_tasks = max(self.method().min_tasks, self.least_tasks)
        for _ in range(count):
            tasks = int(draw.integers(fewest_tasks, max(fewest_tasks, most_tasks) + 1))
            rows = family(draw, tasks, int(draw.integers(2, 25)))
            yield Instance(rows, draw.uniform(0.1, 3.0, tasks))


def step(method: Method, instance: Instance) -> Vector:
    """Call a method for one step and return its (P,) update.

    :param method: the method.
    :param instance: the input of the step, of which the method gets only what it declares to read.
    """
    return weigh(method, instance)[0]


def weigh(method: Method, instance: Instance) -> tuple[Vector, Vector | None]:
    """Call a method for one step, as :func:`step`, and return its (P,) update and (K,) weights.

    :param method: the method.
    :param instance: the input of the step.
    :returns: the update and the weights, ``None`` for methods that return updates.
    :raises ValueError: when the method does not return K weights.
    """
    observation = show(method, instance)
    if method.returns == "update":
        update, weights = method.update(observation).numpy(), None
    else:
        weights = np.asarray(method.weights(observation), dtype=np.float64)
        if weights.shape != instance.losses.shape:
            raise ValueError(f"weights of shape {weights.shape} for {len(instance.losses)} tasks")
        update = weights @ instance.rows
    if method.reads_after:
        method.after_step(losses_after(instance.losses))
    return update, weights


def show(method: Method, instance: Instance) -> Observation:
    """Return the observation of an instance, with copies of the values that the method declares to read.

    For a method that reads products of two batches, both batches are the same: JJᵀ.

    :param method: the method that will read the observation.
    :param instance: the input of the step.
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
