"""Compare the updates of foreign code with those of the method that it claims to be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtlbench.check.families import ALL, GENERIC, Family, normal
from mtlbench.check.foreign.borrowed import Examined, changed
from mtlbench.check.foreign.conduct import CLOSE, matrices
from mtlbench.check.foreign.distribution import ANOTHER, CONVENTIONS, Factor, in_distribution, own_deviations
from mtlbench.check.result import Result, not_claimed, observed
from mtlbench.check.robust import EQUAL, steps, yardstick
from mtlbench.check.subject import Instance, Subject, step, weigh
from mtlbench.contract.method import Method
from mtlbench.contract.observation import Vector
from mtlbench.errors import SolverError

ORDINARY = "ordinary"


@dataclass(frozen=True)
class Pair:
    """Both updates on one matrix.

    :param family: the family of the matrix, or :data:`ORDINARY`.
    :param tasks: K.
    :param ours: (P,) update of our method.
    :param theirs: (P,) update of the foreign code.
    :param unit: the magnitude relative to which our update is rounded.
    """

    family: str
    tasks: int
    ours: Vector
    theirs: Vector
    unit: float

    def difference(self, factor: float) -> float:
        """Return the difference after dividing theirs by a factor, relative to the terms of our update."""
        return float(np.linalg.norm(self.theirs / factor - self.ours)) / self.unit

    @property
    def ratio(self) -> float:
        """The factor with which theirs is nearest to ours; 1 where ours is zero."""
        return float(self.ours @ self.theirs) / (float(self.ours @ self.ours) or 1.0) or 1.0


def summed(examined: Examined, count: int) -> Result:
    """Check that the update depends on the single gradients, not on their sum alone.

    :param examined: the foreign code.
    :param count: the number of matrices.
    """
    name, draw = "single gradients", np.random.default_rng(6)
    if examined.most_tasks < 2:
        return not_claimed(name, "accepts one task only")
    ours = examined.ours
    depends = ours_depends = False
    for rows in matrices(examined, count):
        noise = draw.normal(size=rows.shape)
        other = rows + noise - noise.mean(axis=0)
        depends |= changed(examined.update(rows), examined.update(other), rows)
        if ours is not None:
            losses = np.ones(len(rows))
            ours_depends |= changed(ours.update(Instance(rows, losses)), ours.update(Instance(other, losses)), rows)
    if depends:
        return Result(name, True, "the update depends on the single gradients, not on their sum alone", None, count)
    detail = "the update depends on the sum of the gradients alone, as if the code saw one gradient only"
    if ours is not None and ours_depends:
        return Result(name, False, f"surgery on summed gradients: {detail}; no conflict is left to see", None, count)
    same = "a plain sum or mean of the losses" if ours is None else f"so does that of {ours.spec} in a first step"
    return observed(name, f"{detail}: {same}", None, count)


def update(examined: Examined, count: int) -> list[Result]:
    """Compare the first update with that of the claimed method, on every family; random methods in distribution.

    :param examined: the foreign code.
    :param count: the number of matrices per family.
    """
    ours = examined.ours
    if ours is None or examined.claimed is None:
        return [not_claimed("update", "no method to compare with: give --as METHOD")]
    if examined.claimed.min_tasks > examined.most_tasks:
        return [not_claimed("update", f"{ours.spec} needs {examined.claimed.min_tasks} tasks or more")]
    if _is_random(ours):
        return in_distribution(examined, ours)
    return [_by_formula(examined, ours, count)]


def _is_random(ours: Subject) -> bool:
    """Return whether another seed changes the update."""
    instances = ours.instances(normal, 10)
    return any(not np.array_equal(ours.update(instance, 0), ours.update(instance, 1)) for instance in instances)


def _by_formula(examined: Examined, ours: Subject, count: int) -> Result:
    pairs = _pairs(examined, ours, count)
    ordinary = [pair for pair in pairs if pair.family == ORDINARY and np.isfinite(pair.theirs).all()]
    if not ordinary:
        return Result("update", False, f"not finite on any matrix, so there is nothing to compare with {ours.spec}")
    words, factor = _convention(ordinary)
    factors = [pair.ratio if factor is None else factor(pair.tasks) for pair in pairs]
    by_family: dict[str, float] = {}
    for pair, value in zip(pairs, factors, strict=True):
        by_family[pair.family] = max(by_family.get(pair.family, 0.0), _number(pair.difference(value)))
    worst = by_family.pop(ORDINARY)
    hard = by_family
    hardest = max(hard, key=lambda family: hard[family]) if hard else ""
    detail = f"the update of {ours.spec}{words}: largest relative difference {worst:.1e} on ordinary matrices"
    if hardest:
        hard_value = f"{hard[hardest]:.1e}" if np.isfinite(hard[hardest]) else "no finite update"
        detail += f", {hard_value} on degenerate ones ({hardest})"
    if not worst <= CLOSE:
        judged = [(pair, value) for pair, value in zip(pairs, factors, strict=True) if pair.family == ORDINARY]
        far = [not pair.difference(value) <= CLOSE for pair, value in judged]
        share = f"; more than {CLOSE:.0%} on {sum(far)} of {len(far)} ordinary ones"
        return Result("update", False, f"not {detail}{share}{own_deviations(ours)}", worst, len(pairs))
    if worst > EQUAL or any(value > CLOSE for value in hard.values()):
        return observed("update", f"close to {detail}" if worst > EQUAL else detail, worst, len(pairs))
    return Result("update", True, detail, worst, len(pairs))


def _number(value: float) -> float:
    return value if np.isfinite(value) else float("inf")


def _pairs(examined: Examined, ours: Subject, count: int) -> list[Pair]:
    """Return pairs of first updates; for a method with state also those of the next two steps, on generic matrices."""
    draw, pairs = np.random.default_rng(10), []
    has_state = examined.claimed is not None and examined.claimed.state != "none"
    for family in ALL:
        for first in examined.subject.instances(family, count):
            if len(first.losses) < ours.method().min_tasks:
                continue
            mine, theirs = ours.method(0), examined.subject.method(0)
            for instance in steps(draw, first, 3 if has_state and family in GENERIC else 1):
                try:
                    update, weights = weigh(mine, instance)
                except SolverError:
                    break  # our method is not defined there
                unit = yardstick(instance, update, weights)
                pairs.append(Pair(_kind(family, first), len(first.losses), update, _theirs(theirs, instance), unit))
    return pairs


def _theirs(method: Method, instance: Instance) -> Vector:
    try:
        return step(method, instance)
    except Exception:  # foreign code may raise anything; the check of finiteness reports it
        return np.full(instance.rows.shape[1], np.nan)


def _kind(family: Family, instance: Instance) -> str:
    """Return the name of a matrix's kind: ordinary gradients are in general position, with no more tasks than entries.

    Where there are more tasks, some combination of the gradients is zero, and many methods have no unique answer.
    """
    tasks, size = instance.rows.shape
    if family not in GENERIC:
        return family.__name__
    return ORDINARY if tasks <= size else "more tasks than parameters"


def _convention(pairs: list[Pair]) -> tuple[str, Factor | None]:
    """Return how the length of theirs relates to ours, in words and as a factor by K; ``None``: it varies by matrix.

    The relation must hold on nine of ten matrices: one on which a solver fails does not hide the convention.
    """

    def spread(factors: list[float]) -> float:
        differences = [pair.difference(factor) for pair, factor in zip(pairs, factors, strict=True)]
        return float(np.quantile(differences, 0.9, method="higher"))

    tried = [(spread([factor(pair.tasks) for pair in pairs]), words, factor) for words, factor in CONVENTIONS]
    difference, words, factor = min(tried, key=lambda one: one[0])
    if difference <= CLOSE:
        return words, factor
    constant = float(np.median([pair.ratio for pair in pairs]))
    if constant > 0.0 and spread([constant] * len(pairs)) <= CLOSE:
        return f", times {constant:.4g} ({ANOTHER})", lambda tasks: constant
    if all(pair.ratio > 0.0 for pair in pairs) and spread([pair.ratio for pair in pairs]) <= CLOSE:
        return f" in direction, with a length of its own ({ANOTHER})", None
    return CONVENTIONS[0]
