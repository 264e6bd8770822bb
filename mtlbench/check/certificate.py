"""Run every check on one method."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from mtlbench.check import claims, engine_checks, robust
from mtlbench.check.families import normal
from mtlbench.check.result import Result
from mtlbench.check.subject import Instance, Subject, step
from mtlbench.contract.method import Method
from mtlbench.plugins.registry import Registry

COST_AT = (2, 8, 32, 64)
"""Numbers of tasks at which calls are timed."""
CALLS = 15
"""Timed calls per number of tasks."""


R = TypeVar("R", Result, list[Result], Result | list[Result])


@dataclass(frozen=True)
class Certificate:
    """The results of all checks on one method.

    :param method: the spec of the method.
    :param results: one result per check.
    :param seconds: median time of one call by number of tasks, with P = 256, including the products JJᵀ.
    """

    method: str
    results: list[Result]
    seconds: dict[int, float]

    @property
    def passed(self) -> bool:
        """Whether every check passed or does not apply."""
        return all(result.passed is not False for result in self.results)


def certify(spec: str, registry: Registry, matrices: int) -> Certificate:
    """Run every check on one method. An exception in a check fails that check.

    :param spec: the spec of the method.
    :param registry: the plugins in which it is found.
    :param matrices: the number of matrices per family and check, a tenth of it where each takes a run of several steps.
    """

    def make(seed: int) -> Method:
        method = registry.method(spec)
        method.reseed(seed)
        return method

    subject = Subject(spec, make)
    few = max(3, matrices // 10)
    checks: list[tuple[str, Callable[[], Result | list[Result]]]] = [
        ("finite", lambda: robust.finite(subject, matrices)),
        ("one task", lambda: robust.one_task(subject, matrices)),
        ("order", lambda: robust.order(subject, matrices)),
        ("own generator", lambda: robust.deterministic(subject, few)),
        ("replay", lambda: robust.replay(subject, few)),
        ("no side effects", lambda: robust.untouched(subject, few)),
        ("heads", lambda: engine_checks.heads(subject)),
        ("native scale", lambda: claims.native_scale(subject, few)),
        ("optimality", lambda: claims.optimality(subject, matrices)),
        ("properties", lambda: claims.claims(subject, matrices)),
    ]
    results: list[Result] = []
    for name, check in checks:
        outcome = attempt(name, check)
        results.extend(outcome if isinstance(outcome, list) else [outcome])
    seconds: dict[int, float] = {}
    cost = attempt("cost", lambda: _cost(subject, seconds))
    return Certificate(spec, [*results, cost] if isinstance(cost, Result) else results, seconds)


def attempt(name: str, check: Callable[[], R]) -> R | Result:
    """Run a check; an exception counts as its failure.

    :param name: the name of the check.
    :param check: the check.
    """
    try:
        return check()
    except Exception as error:  # a method under test may raise anything
        return Result(name, False, f"{type(error).__name__}: {error}")


def _cost(subject: Subject, seconds: dict[int, float]) -> list[Result]:
    """Measure the median seconds of a call on normal matrices, by number of tasks."""
    for tasks in COST_AT:
        draw, method, times = np.random.default_rng(5), subject.method(), []
        if tasks < method.min_tasks:
            continue
        for _ in range(CALLS):
            instance = Instance(normal(draw, tasks, 256), draw.uniform(0.1, 3.0, tasks))
            start = time.perf_counter()
            step(method, instance)
            times.append(time.perf_counter() - start)
        seconds[tasks] = statistics.median(times)
    return []
