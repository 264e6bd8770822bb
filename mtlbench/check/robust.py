"""Check a method's conduct: finite weights, no effect of the tasks' order, determinism, and no side effects."""

from __future__ import annotations

import itertools
import random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtlbench.check.families import ALL, EXPONENTS, GENERIC, normal
from mtlbench.check.result import Result, not_claimed, verdict
from mtlbench.check.subject import Instance, Subject, losses_after, show, step, weigh
from mtlbench.contract.method import Method
from mtlbench.contract.observation import Observation, Vector
from mtlbench.errors import SolverError

EQUAL = 1e-6
"""Tolerated difference of two updates that should be equal, relative to Σ|wᵢ|‖gᵢ‖: sixteen digits, squared in JJᵀ,
leave eight, and solvers lose some."""
DRAWS = 400
"""The number of seeds over which the updates of a random method are averaged."""
SIGMAS = 6.0
"""Tolerated difference of two means, in standard errors: equal means differ by more once in 10⁹ times."""


def finite(subject: Subject, count: int) -> Result:
    """Check that updates are finite on every family, times 10⁻¹⁰, 1 and 10¹⁵, at the first two steps of a run.

    A method may raise SolverError on a matrix for which it is not defined, but not on more than one in a hundred.

    :param subject: the method under test.
    :param count: the number of matrices per family and scale.
    """
    tried = refused = 0
    for family, exponent in itertools.product(ALL, EXPONENTS):
        for instance in subject.instances(family, count):
            method = subject.method()
            for _ in range(2):
                tried += 1
                try:
                    update = step(method, instance.scaled(10.0**exponent))
                except SolverError:
                    refused += 1
                    break
                except Exception as error:  # a method may raise anything; that is the result
                    fault = f"{type(error).__name__}: {error}"
                else:
                    fault = "" if np.isfinite(update).all() else "not finite"
                if fault:
                    matrix = f"{family.__name__} × 1e{exponent}; J = {instance.rows.tolist()}"
                    return Result("finite", False, f"{fault} on {matrix}", None, tried)
    return Result("finite", refused <= tried / 100, f"{tried} matrices, {refused} refused", None, tried)


def one_task(subject: Subject, count: int) -> Result:
    """Check that the update for a single task is a positive multiple of its gradient.

    A method that returns updates may scale coordinates individually; its update must still descend, ⟨d, g⟩ > 0.

    :param subject: the method under test.
    :param count: the number of gradients to try.
    """
    if subject.method().min_tasks > 1:
        return not_claimed("one task", f"needs {subject.method().min_tasks} tasks or more")
    draw, worst = np.random.default_rng(1), 0.0
    for _ in range(count):
        instance = Instance(normal(draw, 1, 6), draw.uniform(0.1, 3.0, 1))
        update = subject.update(instance)
        direction = update / (np.linalg.norm(update) or 1.0)
        if direction @ instance.rows[0] <= 0.0:
            return Result(
                "one task", False, f"ascends: the update is {update.tolist()} for J = {instance.rows.tolist()}"
            )
        worst = max(worst, float(np.linalg.norm(direction - instance.rows[0] / instance.length)))
    if subject.method().returns == "update":
        return Result("one task", True, "descends", None, count)
    return verdict("one task", worst, EQUAL, count, "angle to the gradient")


def order(subject: Subject, count: int) -> Result:
    """Check that permuting the tasks does not change the update, over three steps; for random methods, on average.

    :param subject: the method under test.
    :param count: the number of matrices per family.
    """
    method = subject.method()
    if method.symmetry == "in turns":
        return not_claimed("order", "tasks take turns")
    if method.symmetry == "in distribution":
        return _order_in_distribution(subject)
    draw, worst, tried = np.random.default_rng(2), 0.0, 0
    for family in GENERIC:
        for first in subject.instances(family, count):
            instances = steps(draw, first, 3)
            permutation = draw.permutation(len(first.losses))
            if method.symmetry == "main task":
                permutation = _fix(permutation, int(getattr(method, "main", 0)))
            method, other = subject.method(), subject.method()
            for instance in instances:
                update, weights = weigh(method, instance)
                permuted = step(other, instance.permuted(permutation))
                worst, tried = max(worst, _difference(update, permuted, instance, weights)), tried + 1
    return verdict("order", worst, EQUAL, tried, "change when tasks are permuted")


def _order_in_distribution(subject: Subject) -> Result:
    worst, tried = 0.0, 0
    for instance in subject.instances(normal, 3, most_tasks=4):
        permuted = instance.permuted(np.roll(np.arange(len(instance.losses)), 1))
        first = np.array([subject.update(instance, seed) for seed in range(DRAWS)])
        second = np.array([subject.update(permuted, seed) for seed in range(DRAWS, 2 * DRAWS)])
        error = np.sqrt((first.var(axis=0) + second.var(axis=0)) / DRAWS)
        difference = np.abs(first.mean(axis=0) - second.mean(axis=0))
        worst = max(worst, float(np.max(difference / (error + EQUAL * instance.length))))
        tried += 2 * DRAWS
    return verdict("order", worst, SIGMAS, tried, f"standard errors between means over {DRAWS} seeds")


def deterministic(subject: Subject, count: int) -> Result:
    """Check that two runs with one seed give the same bits, and neither read nor change the global generators.

    :param subject: the method under test.
    :param count: the number of runs of three steps.
    """
    import torch

    for number, first in enumerate(subject.instances(normal, count)):
        instances = steps(np.random.default_rng(number), first, 3)
        runs = []
        for global_seed in (1, 2):
            random.seed(global_seed)
            np.random.seed(global_seed)
            torch.manual_seed(global_seed)
            before = global_states()
            runs.append(np.array(subject.updates(instances, seed=5)).tobytes())
            if global_states() != before:
                return Result(
                    "own generator", False, "a global generator (random, numpy or torch) was used", None, number
                )
        if runs[0] != runs[1]:
            return Result("own generator", False, "two runs with one seed differ", None, number)
    return Result("own generator", True, "same bits; global generators untouched", None, count)


def global_states() -> dict[str, Any]:
    """Return the states of the global random generators, by the library that owns them."""
    import torch

    legacy: Any = np.random.get_state()
    return {
        "random": random.getstate(),
        "numpy": (legacy[1].tobytes(), legacy[2:]),
        "torch": torch.get_rng_state().numpy().tobytes(),
    }


def replay(subject: Subject, count: int) -> Result:
    """Check that a state saved in the middle of a run and loaded into another object replays the rest to the last bit.

    :param subject: the method under test.
    :param count: the number of runs of eight steps.
    """
    for number, first in enumerate(subject.instances(normal, count)):
        instances = steps(np.random.default_rng(number), first, 8)
        method = subject.method(3)
        for instance in instances[:4]:
            step(method, instance)
        saved = method.state_dict()
        expected = [step(method, instance).tobytes() for instance in instances[4:]]  # must not change the saved state
        resumed = subject.method(99)
        step(resumed, instances[0])
        resumed.load_state_dict(saved)
        if [step(resumed, instance).tobytes() for instance in instances[4:]] != expected:
            return Result("replay", False, "a run resumed from state_dict() differs from an uninterrupted one")
    return Result("replay", True, "a resumed run has the same bits", None, count)


def untouched(subject: Subject, count: int) -> Result:
    """Check that a method does not change its input, and that writing to its return value does not change the method.

    :param subject: the method under test.
    :param count: the number of runs of three steps.
    """
    for number, first in enumerate(subject.instances(normal, count)):
        method, reference = subject.method(), subject.method()
        for instance in steps(np.random.default_rng(number), first, 3):
            observation, before = show(method, instance), show(method, instance)
            answer = _answer(method, observation)
            if not observation.equals(before):
                return Result("no side effects", False, "the method changes the losses or gradients that it reads")
            answer_bytes = _bytes(answer)
            answer[:] = -7.0
            if answer_bytes != _bytes(_answer(reference, show(reference, instance))):
                return Result("no side effects", False, "writing to the returned array changes later steps")
            if method.reads_after:
                method.after_step(losses_after(instance.losses))
                reference.after_step(losses_after(instance.losses))
    return Result("no side effects", True, "the input is unchanged, the returned array is not reused", None, count)


def _answer(method: Method, observation: Observation) -> Any:
    return method.update(observation) if method.returns == "update" else method.weights(observation)


def _bytes(values: Any) -> bytes:
    """Return the bytes of a numpy array or a torch tensor."""
    return bytes(np.asarray(values.numpy() if hasattr(values, "numpy") else values).tobytes())


def steps(draw: np.random.Generator, first: Instance, count: int) -> list[Instance]:
    """Return the first steps of a run: an instance and then random ones of its shape.

    :param draw: the generator.
    :param first: the first step.
    :param count: the number of steps.
    """
    tasks, size = first.rows.shape
    return [first, *(Instance(normal(draw, tasks, size), draw.uniform(0.1, 3.0, (tasks,))) for _ in range(count - 1))]


def _fix(permutation: NDArray[np.int64], main: int) -> NDArray[np.int64]:
    """Return a permutation in which one task stays in its place."""
    changed = permutation.copy()
    changed[np.flatnonzero(changed == main)[0]], changed[main] = changed[main], main
    return changed


def _difference(first: Vector, second: Vector, instance: Instance, weights: Vector | None) -> float:
    return float(np.linalg.norm(first - second)) / yardstick(instance, first, weights)


def yardstick(instance: Instance, update: Vector, weights: Vector | None) -> float:
    """Return the magnitude relative to which an update is rounded: Σ|wᵢ|‖gᵢ‖, or without weights Σ‖gᵢ‖ or ‖d‖.

    :param instance: the input of the step.
    :param update: (P,) update.
    :param weights: (K,) weights, if the method returns weights.
    """
    lengths = np.linalg.norm(instance.rows, axis=1)
    if weights is None:
        return float(max(lengths.sum(), np.linalg.norm(update))) or 1.0
    return float(np.abs(weights) @ lengths) or 1.0
