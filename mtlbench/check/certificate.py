"""``mtlbench check``: every check on one method or on all, as a table, a page or JSON."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mtlbench.check import claims, engine, robust
from mtlbench.check.families import normal
from mtlbench.check.result import Result
from mtlbench.check.subject import Instance, Subject, step
from mtlbench.contract.method import Method
from mtlbench.plugins.registry import Registry

COST_AT = (2, 8, 32, 64)
"""Numbers of tasks at which the time of a call is taken."""
CALLS = 15


@dataclass(frozen=True)
class Certificate:
    """All that was found about one method.

    :param seconds: median time of one call by number of tasks, P = 256, the products JJᵀ included.
    """

    method: str
    results: list[Result]
    seconds: dict[int, float]

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(result.passed is not False for result in self.results)


def certify(spec: str, registry: Registry, matrices: int) -> Certificate:
    """Examine one method.

    :param matrices: matrices a family and check; ten times fewer where every one is a run of several steps.
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
        ("heads", lambda: engine.heads(subject)),
        ("native scale", lambda: claims.native_scale(subject, few)),
        ("optimality", lambda: claims.optimality(subject, matrices)),
        ("properties", lambda: claims.claims(subject, matrices)),
    ]
    results: list[Result] = []
    for name, check in checks:
        found = _caught(name, check)
        results.extend(found if isinstance(found, list) else [found])
    seconds: dict[int, float] = {}
    cost = _caught("cost", lambda: _cost(subject, seconds))
    return Certificate(spec, [*results, cost] if isinstance(cost, Result) else results, seconds)


def _caught(name: str, check: Callable[[], Result | list[Result]]) -> Result | list[Result]:
    """Run a check; a method that fails in it has failed it."""
    try:
        return check()
    except Exception as error:  # a method under examination may fail in any way at all
        return Result(name, False, f"{type(error).__name__}: {error}")


def _cost(subject: Subject, seconds: dict[int, float]) -> list[Result]:
    """Take the median seconds of a call on normal matrices, by number of tasks."""
    for tasks in COST_AT:
        draw, method, taken = np.random.default_rng(5), subject.method(), []
        if tasks < method.min_tasks:
            continue
        for _ in range(CALLS):
            instance = Instance(normal(draw, tasks, 256), draw.uniform(0.1, 3.0, tasks))
            begun = time.perf_counter()
            step(method, instance)
            taken.append(time.perf_counter() - begun)
        seconds[tasks] = statistics.median(taken)
    return []
