"""Check a method's claims: its declared properties, its native scale, and its optimality conditions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mtlbench.check.families import ALL, EXPONENTS, GENERIC, STATIONARY, Family
from mtlbench.check.result import Result, not_claimed, verdict
from mtlbench.check.robust import EQUAL, yardstick
from mtlbench.check.subject import Instance, Subject, show, weigh
from mtlbench.contract.method import Property
from mtlbench.errors import SolverError

STATEMENTS: dict[Property, str] = {
    "non-conflicting": "⟨gᵢ, d⟩ ≥ 0 for every task: to first order no task gets worse",
    "homogeneous": "d(cJ) = c d(J) for c > 0: gradients in other units give the same update in those units",
    "linear under scaling": "c ↦ d(diag(c) J) is linear for c > 0: a task's share grows with its gradient",
    "loss-scale invariant": "d(diag(c) J) = d(J) for c > 0: multiplying a loss changes nothing",
    "stationary": "d = 0 where some v ≥ 0, v ≠ 0 has vᵀJ = 0 (weakly Pareto stationary)",
}
ZERO = 1e-6
"""Tolerated length of an update that should be zero, relative to the longest gradient: sixteen digits of JJᵀ determine
a vector of length 0 only up to √10⁻¹⁶ of the lengths around it."""
OPTIMAL = 1e-6
"""Largest accepted violation of a method's own optimality conditions, relative to the terms in them."""
Trial = Callable[[Subject, Instance, np.random.Generator], float]
"""(subject, instance, generator) → the violation of a property on the instance."""


def native_scale(subject: Subject, count: int) -> Result:
    """Check that K equal gradients g and losses of 1 give K g for the scale "sum" and g for "mean".

    :param subject: the method under test.
    :param count: the number of gradients to try.
    """
    method, draw, worst, length = subject.method(), np.random.default_rng(3), 0.0, 0.0
    tasks = min(max(3, method.min_tasks), subject.most_tasks)
    factor = {"sum": float(tasks), "mean": 1.0, "own": None}[method.scale]
    for _ in range(count):
        gradient = draw.normal(size=6)
        gradient /= np.linalg.norm(gradient)
        update = subject.update(Instance(np.tile(gradient, (tasks, 1)), np.ones(tasks)))
        length = float(np.linalg.norm(update))
        if factor is not None:
            worst = max(worst, float(np.linalg.norm(update - factor * gradient)) / factor)
    if factor is None:
        return not_claimed("native scale", f"its own: {tasks} equal gradients of length 1 give length {length:.3g}")
    return verdict("native scale", worst, EQUAL, count, f"{method.scale} of equal gradients")


def optimality(subject: Subject, count: int) -> Result:
    """Check the method's own optimality conditions on every family, times 10⁻¹⁰, 1 and 10¹⁵.

    :param subject: the method under test.
    :param count: the number of matrices per family and scale.
    """
    worst, tried, where = 0.0, 0, ""
    for family in ALL:
        for exponent in EXPONENTS:
            for unscaled in subject.instances(family, count):
                instance, method = unscaled.scaled(10.0**exponent), subject.method()
                if method.returns == "update":
                    return not_claimed("optimality", "closed form")
                try:
                    residual = method.residual(show(method, instance), weigh(method, instance)[1])  # type: ignore[arg-type]
                except SolverError:
                    continue  # refusals are counted in the check of finiteness
                if residual is None:
                    return not_claimed("optimality", "closed form")
                tried += 1
                if not residual <= worst:
                    worst, where = residual, f"{family.__name__} × 1e{exponent}"
    return verdict("optimality", worst, OPTIMAL, tried, f"residual{_worst_on(where)}")


def _worst_on(family: str) -> str:
    return f", worst on {family}" if family else ""


def claims(subject: Subject, count: int) -> list[Result]:
    """Check every property that the method declares.

    :param subject: the method under test.
    :param count: the number of matrices per family and property.
    """
    declared = subject.method().properties
    unknown = sorted(declared - set(STATEMENTS))
    if unknown:
        return [Result("properties", False, f"unknown: {', '.join(unknown)}; known: {', '.join(STATEMENTS)}")]
    return [claim(subject, name, count) if name in declared else not_claimed(name) for name in STATEMENTS]


def claim(subject: Subject, name: Property, count: int, among: tuple[Family, ...] = ALL) -> Result:
    """Check one property, whether the method declares it or not.

    :param subject: the method under test.
    :param name: the property.
    :param count: the number of matrices per family.
    :param among: the families to try, of those on which the property can be checked.
    """
    trial, families, tolerance = _TRIALS[name]
    draw, worst, tried, where = np.random.default_rng(4), 0.0, 0, ""
    for family in (one for one in families if one in among):
        for instance in subject.instances(family, count):
            try:
                violation = trial(subject, instance, draw)
            except SolverError:
                continue
            tried += 1
            if not violation <= worst:
                worst, where = violation, family.__name__
    return verdict(name, worst, tolerance, tried, f"violation{_worst_on(where)}")


def _non_conflicting(subject: Subject, instance: Instance, draw: np.random.Generator) -> float:
    update, weights = weigh(subject.method(), instance)
    lengths = np.linalg.norm(instance.rows, axis=1)
    along = instance.rows @ update / np.where(lengths > 0.0, lengths, 1.0)
    return float(max(0.0, -along.min())) / yardstick(instance, update, weights)


def _homogeneous(subject: Subject, instance: Instance, draw: np.random.Generator) -> float:
    factor = 3.0 * 10.0 ** float(draw.uniform(-10, 15))
    update, weights = weigh(subject.method(), instance)
    other = subject.update(instance.scaled(factor)) / factor
    return float(np.linalg.norm(other - update)) / yardstick(instance, update, weights)


def _linear(subject: Subject, instance: Instance, draw: np.random.Generator) -> float:
    first, second = 10.0 ** draw.uniform(-3.0, 3.0, (2, len(instance.losses)))
    both = instance.scaled(first + second)
    update, weights = weigh(subject.method(), both)
    difference = update - subject.update(instance.scaled(first)) - subject.update(instance.scaled(second))
    return float(np.linalg.norm(difference)) / yardstick(both, update, weights)


def _loss_scale_invariant(subject: Subject, instance: Instance, draw: np.random.Generator) -> float:
    factors = 10.0 ** draw.uniform(-3.0, 3.0, len(instance.losses))
    update, weights = weigh(subject.method(), instance)
    other = subject.update(instance.scaled(factors, losses=True))
    return float(np.linalg.norm(other - update)) / yardstick(instance, update, weights)


def _stationary(subject: Subject, instance: Instance, draw: np.random.Generator) -> float:
    return float(np.linalg.norm(subject.update(instance))) / (instance.length or 1.0)


_TRIALS: dict[Property, tuple[Trial, tuple[Family, ...], float]] = {
    "non-conflicting": (_non_conflicting, ALL, EQUAL),
    "homogeneous": (_homogeneous, GENERIC, EQUAL),
    "linear under scaling": (_linear, GENERIC, EQUAL),
    "loss-scale invariant": (_loss_scale_invariant, GENERIC, EQUAL),
    "stationary": (_stationary, STATIONARY, ZERO),
}
