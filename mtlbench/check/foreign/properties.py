"""The scale of foreign code, and the properties that its method claims."""

from __future__ import annotations

from functools import partial

import numpy as np

from mtlbench.check import claims
from mtlbench.check.certificate import attempt
from mtlbench.check.claims import STATEMENTS
from mtlbench.check.families import GENERIC
from mtlbench.check.foreign.borrowed import UNSEEDED, Examined
from mtlbench.check.foreign.conduct import CLOSE, matrices
from mtlbench.check.result import Result, not_claimed, observed
from mtlbench.check.subject import Instance
from mtlbench.contract.method import Property


def scale(examined: Examined, count: int) -> Result:
    """State the scale: the update for K equal gradients g is K g, g, or another multiple. A convention, never a fault.

    :param examined: the foreign code.
    :param count: the number of gradients.
    """
    draw, tasks, reference = np.random.default_rng(3), examined.usual_tasks, examined.ours
    theirs: list[float] = []
    ours: list[float] = []
    for _ in range(count):
        gradient = draw.normal(size=6)
        gradient /= np.linalg.norm(gradient)
        rows = np.tile(gradient, (tasks, 1))
        update = examined.update(rows)
        theirs.append(float(update @ gradient))
        if not np.linalg.norm(update - theirs[-1] * gradient) <= CLOSE * max(1.0, abs(theirs[-1])):
            return observed("scale", f"{tasks} equal gradients g do not give a multiple of g")
        if reference is not None and tasks >= reference.method().min_tasks:
            ours.append(float(reference.update(Instance(rows, np.ones(tasks))) @ gradient))
    seen = f"{tasks} equal gradients g give {_multiple(theirs, tasks)}"
    if reference is None or not ours:
        return observed("scale", seen)
    if np.allclose(theirs, ours, rtol=1e-3, atol=0.0):
        return Result("scale", True, f"{seen}, as with {reference.spec}", None, count)
    return observed(
        "scale",
        f"another convention, no fault: {seen}, and {_multiple(ours, tasks)} with {reference.spec}; another learning "
        "rate for the shared parameters makes up for it",
    )


def _multiple(factors: list[float], tasks: int) -> str:
    """Return a factor in words; a range where it varies."""
    if not np.allclose(factors, factors[0], rtol=1e-3, atol=0.0):
        return f"{min(factors):.3g} g to {max(factors):.3g} g"
    names = {"their sum": float(tasks), "their mean": 1.0}
    known = [word for word, value in names.items() if np.isclose(factors[0], value, rtol=1e-3)]
    return known[0] if known else f"{factors[0]:.3g} g"


def properties(examined: Examined, count: int) -> list[Result]:
    """Check the properties that the claimed method has, and state whether the others were seen to hold.

    :param examined: the foreign code.
    :param count: the number of matrices per family and property.
    """
    if UNSEEDED in examined.generators:
        return [not_claimed("properties", "cannot be told, as equal calls differ")]
    return [attempt(name, partial(_property, examined, name, count)) for name in STATEMENTS]


def _property(examined: Examined, name: Property, count: int) -> Result:
    claimed = examined.claimed is not None and name in examined.claimed.properties
    result = claims.claim(examined.subject, name, count)
    if result.passed:
        return result if claimed else observed(name, "not claimed, but holds on every matrix tried", result.worst)
    violation = f"largest violation {result.worst:.1e}, on {result.detail.rpartition(' ')[2]}"
    if not claimed or examined.claimed is None:
        return observed(name, f"not claimed, and does not hold: {violation}", result.worst, result.tried)
    words = "holds approximately"
    if not (result.worst is not None and result.worst <= CLOSE):
        if name == "homogeneous":
            ordinary, words = (
                _in_ordinary_units(examined, count),
                "holds for gradients of ordinary lengths, not from 10⁻¹⁰ to 10¹⁵",
            )
        else:
            words = "holds on ordinary gradients, not on degenerate ones"
            ordinary = _on_ordinary(examined, name, count)
        if not ordinary <= CLOSE:
            detail = f"{examined.claimed.spec} has this property, this code does not: {violation}"
            return Result(name, False, detail, result.worst, result.tried)
    return observed(name, f"{words}, as with a small constant or a tolerance in the code: {violation}", result.worst)


def _on_ordinary(examined: Examined, name: Property, count: int) -> float:
    result = claims.claim(examined.subject, name, count, GENERIC)
    return result.worst if result.tried and result.worst is not None else float("inf")


def _in_ordinary_units(examined: Examined, count: int) -> float:
    """Return the largest violation of homogeneity for factors between 1/30 and 30."""
    draw, worst = np.random.default_rng(12), 0.0
    for rows in matrices(examined, count):
        factor = 30.0 ** float(draw.uniform(-1.0, 1.0))
        difference = examined.update(factor * rows) / factor - examined.update(rows)
        worst = max(worst, float(np.linalg.norm(difference)) / float(np.linalg.norm(rows, axis=1).sum()))
    return worst
