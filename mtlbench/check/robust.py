"""Checks of conduct: finite on every matrix, indifferent to order, deterministic, and alone with its own generator."""

from __future__ import annotations

import itertools
import random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtlbench.check.families import ALL, EXPONENTS, GENERIC, normal
from mtlbench.check.result import Result, not_claimed, verdict
from mtlbench.check.subject import Instance, Subject, losses_after, show, step, weigh
from mtlbench.contract.observation import Vector
from mtlbench.errors import SolverError

EQUAL = 1e-6
"""Two updates that ought to be equal may differ by this share of Σ|wᵢ|‖gᵢ‖: sixteen digits, squared in JJᵀ, leave
eight, and solvers lose some."""
DRAWS = 400
"""Seeds over which a random method's mean update is taken."""
SIGMAS = 6.0
"""A mean may differ from another by this many standard errors: once in 10⁹ for an equal one."""


def finite(subject: Subject, count: int) -> Result:
    """Every weight is finite on every family, times 10⁻¹⁰, 1 and 10¹⁵, at the first steps of a run.

    A method may refuse a matrix on which it is not defined with a SolverError; refusals are counted. One in a hundred
    is too many.
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
                except Exception as error:  # a method may fail in any way at all: that is the finding
                    told = f"{type(error).__name__}: {error}"
                else:
                    told = "" if np.isfinite(update).all() else "not finite"
                if told:
                    where = f"on {family.__name__} × 1e{exponent}; J = {instance.rows.tolist()}"
                    return Result("finite", False, f"{told} {where}", None, tried)
    return Result("finite", refused <= tried / 100, f"{tried} matrices, {refused} refused", None, tried)


def one_task(subject: Subject, count: int) -> Result:
    """A single task's update is a positive multiple of its gradient: whatever else, a method must descend.

    A method that returns updates may scale every coordinate for itself; its update must still descend, ⟨d, g⟩ > 0.
    """
    if subject.method().min_tasks > 1:
        return not_claimed("one task", f"needs {subject.method().min_tasks} tasks or more")
    draw, worst = np.random.default_rng(1), 0.0
    for _ in range(count):
        instance = Instance(normal(draw, 1, 6), draw.uniform(0.1, 3.0, 1))
        update = subject.update(instance)
        along = update / (np.linalg.norm(update) or 1.0)
        if along @ instance.rows[0] <= 0.0:
            return Result(
                "one task", False, f"ascends: the update is {update.tolist()} for J = {instance.rows.tolist()}"
            )
        worst = max(worst, float(np.linalg.norm(along - instance.rows[0] / instance.length)))
    if subject.method().returns == "update":
        return Result("one task", True, "descends", None, count)
    return verdict("one task", worst, EQUAL, count, "angle to the gradient")


def order(subject: Subject, count: int) -> Result:
    """Permuting the tasks permutes the weights, over three steps; for random methods, on average over seeds."""
    method = subject.method()
    if method.symmetry == "in turns":
        return not_claimed("order", "tasks take turns")
    if method.symmetry == "in distribution":
        return _order_in_distribution(subject)
    draw, worst, tried = np.random.default_rng(2), 0.0, 0
    for family in GENERIC:
        for first in subject.instances(family, count):
            instances = _steps(draw, first, 3)
            permutation = draw.permutation(len(first.losses))
            if method.symmetry == "main task":
                permutation = _keeping(permutation, int(getattr(method, "main", 0)))
            wanted, found = subject.method(), subject.method()
            for instance in instances:
                update, weights = weigh(wanted, instance)
                permuted = step(found, instance.permuted(permutation))
                worst, tried = max(worst, _apart(update, permuted, instance, weights)), tried + 1
    return verdict("order", worst, EQUAL, tried, "change when tasks are permuted")


def _order_in_distribution(subject: Subject) -> Result:
    worst, tried = 0.0, 0
    for instance in subject.instances(normal, 3, most_tasks=4):
        turned = instance.permuted(np.roll(np.arange(len(instance.losses)), 1))
        one = np.array([subject.update(instance, seed) for seed in range(DRAWS)])
        other = np.array([subject.update(turned, seed) for seed in range(DRAWS, 2 * DRAWS)])
        error = np.sqrt((one.var(axis=0) + other.var(axis=0)) / DRAWS)
        apart = np.abs(one.mean(axis=0) - other.mean(axis=0))
        worst = max(worst, float(np.max(apart / (error + EQUAL * instance.length))))
        tried += 2 * DRAWS
    return verdict("order", worst, SIGMAS, tried, f"standard errors between means over {DRAWS} seeds")


def deterministic(subject: Subject, count: int) -> Result:
    """The same seed and the same steps give the same bits, whatever the global generators hold; they stay untouched."""
    import torch

    for number, first in enumerate(subject.instances(normal, count)):
        instances = _steps(np.random.default_rng(number), first, 3)
        found = []
        for global_seed in (1, 2):
            random.seed(global_seed)
            np.random.seed(global_seed)
            torch.manual_seed(global_seed)
            before = _global_states()
            found.append(np.array(subject.updates(instances, seed=5)).tobytes())
            if _global_states() != before:
                return Result(
                    "own generator", False, "a global generator (random, numpy or torch) was used", None, number
                )
        if found[0] != found[1]:
            return Result("own generator", False, "two runs with one seed differ", None, number)
    return Result("own generator", True, "same bits; global generators untouched", None, count)


def _global_states() -> tuple[Any, ...]:
    import torch

    legacy: Any = np.random.get_state()
    return random.getstate(), legacy[1].tobytes(), legacy[2:], torch.get_rng_state().numpy().tobytes()


def replay(subject: Subject, count: int) -> Result:
    """A state saved in mid-run and loaded into another object replays the rest to the last bit."""
    for number, first in enumerate(subject.instances(normal, count)):
        instances = _steps(np.random.default_rng(number), first, 8)
        method = subject.method(3)
        for instance in instances[:4]:
            step(method, instance)
        saved = method.state_dict()
        wanted = [step(method, instance).tobytes() for instance in instances[4:]]  # must not reach into what was saved
        resumed = subject.method(99)
        step(resumed, instances[0])
        resumed.load_state_dict(saved)
        if [step(resumed, instance).tobytes() for instance in instances[4:]] != wanted:
            return Result("replay", False, "a run resumed from state_dict() differs from one that was not stopped")
    return Result("replay", True, "a resumed run has the same bits", None, count)


def untouched(subject: Subject, count: int) -> Result:
    """What a method is shown is not changed, and changing what it returned does not change it."""
    for number, first in enumerate(subject.instances(normal, count)):
        spoilt, clean = subject.method(), subject.method()
        for instance in _steps(np.random.default_rng(number), first, 3):
            seen, before = show(spoilt, instance), show(spoilt, instance)
            returned = spoilt.update(seen) if spoilt.returns == "update" else spoilt.weights(seen)
            if not seen.equals(before):
                return Result("no side effects", False, "the losses or gradients that were shown are changed")
            got = _bits(returned)
            returned[:] = -7.0
            expected = show(clean, instance)
            wanted = clean.update(expected) if clean.returns == "update" else clean.weights(expected)
            if got != _bits(wanted):
                return Result("no side effects", False, "writing on what was returned changes later steps")
            for method in (spoilt, clean):
                if method.reads_after:
                    method.after_step(losses_after(instance.losses))
    return Result("no side effects", True, "nothing shown or returned is shared", None, count)


def _bits(returned: Any) -> bytes:
    """Return the bytes of a numpy array or a torch tensor."""
    return bytes(np.asarray(returned.numpy() if hasattr(returned, "numpy") else returned).tobytes())


def _steps(draw: np.random.Generator, first: Instance, count: int) -> list[Instance]:
    """Return a run's first steps: the instance given, then others of its shape."""
    tasks, size = first.rows.shape
    return [first, *(Instance(normal(draw, tasks, size), draw.uniform(0.1, 3.0, (tasks,))) for _ in range(count - 1))]


def _keeping(permutation: NDArray[np.int64], main: int) -> NDArray[np.int64]:
    """Return a permutation with one task back in its own place."""
    changed = permutation.copy()
    changed[np.flatnonzero(changed == main)[0]], changed[main] = changed[main], main
    return changed


def _apart(one: Vector, other: Vector, instance: Instance, weights: Vector | None) -> float:
    return float(np.linalg.norm(one - other)) / yardstick(instance, one, weights)


def yardstick(instance: Instance, update: Vector, weights: Vector | None) -> float:
    """Return Σ|wᵢ|‖gᵢ‖, what an update is rounded relative to; Σ‖gᵢ‖ or ‖d‖ for methods without weights."""
    lengths = np.linalg.norm(instance.rows, axis=1)
    if weights is None:
        return float(max(lengths.sum(), np.linalg.norm(update))) or 1.0
    return float(np.abs(weights) @ lengths) or 1.0
