"""Compare the updates of foreign code with those of the method that it claims to be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mtlbench.check.families import ALL, GENERIC, normal
from mtlbench.check.foreign.borrowed import Examined
from mtlbench.check.foreign.conduct import CLOSE, matrices
from mtlbench.check.result import Result, not_claimed, observed
from mtlbench.check.robust import EQUAL, SIGMAS, yardstick
from mtlbench.check.subject import Instance, Subject, step, weigh
from mtlbench.contract.observation import Matrix, Vector
from mtlbench.errors import SolverError

DRAWS = 200
"""Seeds over which random methods are compared."""
FEW = 64
"""A random method with at most as many different results on a matrix chooses among orders; others draw real numbers."""
Factor = Callable[[int], float]
CONVENTIONS: tuple[tuple[str, Factor], ...] = (
    ("", lambda tasks: 1.0),
    ("1/K of", lambda tasks: 1.0 / tasks),
    ("K times", lambda tasks: float(tasks)),
)
"""Scales that are conventions: the sum or the mean over tasks."""


@dataclass(frozen=True)
class Pair:
    """Both updates on one matrix.

    :param family: the name of the matrix's family.
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
    ours = _ours(examined)
    depends = ours_depends = False
    for rows in matrices(examined, count):
        noise = draw.normal(size=rows.shape)
        other, unit = rows + noise - noise.mean(axis=0), float(np.linalg.norm(rows, axis=1).sum())
        depends |= _changes(examined.update(rows), examined.update(other), unit)
        if ours is not None:
            losses = np.ones(len(rows))
            ours_depends |= _changes(ours.update(Instance(rows, losses)), ours.update(Instance(other, losses)), unit)
    if depends:
        return Result(name, True, "the update depends on the single gradients, not on their sum alone", None, count)
    detail = "the update depends on the sum of the gradients alone, as if the code saw one gradient only"
    if ours is not None and ours_depends:
        return Result(name, False, f"surgery on summed gradients: {detail}; there is nothing left to project", None, count)
    return observed(name, f"{detail}: a plain sum or mean of the losses", None, count)


def _changes(first: Vector, second: Vector, unit: float) -> bool:
    return not float(np.linalg.norm(first - second)) <= 1e-9 * unit


def _ours(examined: Examined) -> Subject | None:
    """Return the claimed method as a subject with new objects for each seed."""
    claimed = examined.claimed
    if claimed is None:
        return None

    def make(seed: int) -> object:
        method = type(claimed)(**{name: value for name, value in claimed.parameters.items()})
        method.reseed(seed)
        return method

    return Subject(claimed.spec, make)  # type: ignore[arg-type]


def update(examined: Examined, count: int) -> list[Result]:
    """Compare the first update with that of the claimed method, on every family; random methods in distribution.

    :param examined: the foreign code.
    :param count: the number of matrices per family.
    """
    ours = _ours(examined)
    if ours is None or examined.claimed is None:
        return [not_claimed("update", "no method to compare with: give --as METHOD")]
    if examined.claimed.min_tasks > examined.most_tasks:
        return [not_claimed("update", f"{ours.spec} needs {examined.claimed.min_tasks} tasks or more")]
    if examined.claimed.symmetry == "in distribution":
        return _in_distribution(examined, ours)
    return [_by_formula(examined, ours, count)]


def _by_formula(examined: Examined, ours: Subject, count: int) -> Result:
    pairs = _pairs(examined, ours, count)
    names = {family.__name__ for family in GENERIC}
    generic = [pair for pair in pairs if pair.family in names and np.isfinite(pair.theirs).all()]
    if not generic:
        return Result("update", False, f"not finite on any matrix, so there is nothing to compare with {ours.spec}")
    words, factor = _convention(generic)
    if factor is None:
        factors = [pair.ratio for pair in pairs]
    else:
        factors = [factor(pair.tasks) for pair in pairs]
    by_family: dict[str, float] = {}
    for pair, value in zip(pairs, factors, strict=True):
        by_family[pair.family] = max(by_family.get(pair.family, 0.0), _number(pair.difference(value)))
    worst = max(by_family[family] for family in names if family in by_family)
    hard = {family: value for family, value in by_family.items() if family not in names}
    hardest = max(hard, key=lambda family: hard[family]) if hard else ""
    detail = f"{words} {ours.spec}: largest relative difference {worst:.1e} on ordinary matrices"
    if hardest:
        detail += f", {hard[hardest]:.1e} on degenerate ones ({hardest})"
    if not worst <= CLOSE:
        return Result("update", False, f"is not {detail.strip()}", worst, len(pairs))
    if worst > EQUAL or any(value > CLOSE for value in hard.values()):
        return observed("update", f"close to {detail}" if worst > EQUAL else detail, worst, len(pairs))
    return Result("update", True, detail, worst, len(pairs))


def _number(value: float) -> float:
    return value if np.isfinite(value) else float("inf")


def _pairs(examined: Examined, ours: Subject, count: int) -> list[Pair]:
    subject, fewest, pairs = examined.subject, ours.method().min_tasks, []
    for family in ALL:
        for instance in subject.instances(family, count):
            if len(instance.losses) < fewest:
                continue
            try:
                mine, weights = weigh(ours.method(0), instance)
                theirs = step(subject.method(0), instance)
            except SolverError:
                continue  # our method is not defined there
            except Exception:  # foreign code may raise anything; the check of finiteness reports it
                theirs = np.full(instance.rows.shape[1], np.nan)
            unit = yardstick(instance, mine, weights)
            pairs.append(Pair(family.__name__, len(instance.losses), mine, theirs, unit))
    return pairs


def _convention(pairs: list[Pair]) -> tuple[str, Factor | None]:
    """Return in words how the lengths of both updates relate, and the factor by K; ``None`` for a factor by matrix."""
    worst = {words: max(pair.difference(factor(pair.tasks)) for pair in pairs) for words, factor in CONVENTIONS}
    words, factor = min(CONVENTIONS, key=lambda one: (not worst[one[0]] <= EQUAL, worst[one[0]]))
    if worst[words] <= CLOSE:
        return f"{words} (another convention)" if words else "the update of", factor
    constant = float(np.median([pair.ratio for pair in pairs]))
    if constant > 0.0 and max(pair.difference(constant) for pair in pairs) <= CLOSE:
        return f"{constant:.4g} times (another convention)", lambda tasks: constant
    if all(pair.ratio > 0.0 and pair.difference(pair.ratio) <= CLOSE for pair in pairs):
        return "in the direction of, with a length of its own (another convention),", None
    return "the update of", CONVENTIONS[0][1]


def _in_distribution(examined: Examined, ours: Subject) -> list[Result]:
    """Compare over seeds: is each of their results one of ours, do they reach all of ours, and is the mean the same?"""
    tasks = min(max(3, examined.fewest_tasks, ours.method().min_tasks), examined.most_tasks)
    draw, farthest, deviation, reached, possible, convention = np.random.default_rng(8), 0.0, 0.0, 0, 0, ""
    few = True
    for _ in range(3):
        rows = conflicting(draw, tasks)
        mine, theirs = _draws(ours, rows, DRAWS), _draws(examined.subject, rows, DRAWS)
        if not np.isfinite(theirs).all():
            return [Result("update", False, f"not finite on normal gradients, so no comparison with {ours.spec}")]
        unit = float(np.linalg.norm(rows, axis=1).sum())
        distinct = unique(mine, unit)
        few &= len(distinct) <= FEW
        points = distinct if len(distinct) <= FEW else mine.mean(axis=0, keepdims=True)
        centres = theirs if len(distinct) <= FEW else theirs.mean(axis=0, keepdims=True)
        words, factor = min(CONVENTIONS, key=lambda one: float(nearest(centres / one[1](tasks), points).max()))
        convention, theirs = words or convention, theirs / factor(tasks)
        farthest = max(farthest, float(nearest(theirs, points).max()) / unit)
        reached += int((nearest(points, theirs) <= EQUAL * unit).sum())
        possible += len(points)
        error = np.sqrt((mine.var(axis=0) + theirs.var(axis=0)) / DRAWS)
        deviation = max(deviation, float((abs(mine.mean(axis=0) - theirs.mean(axis=0)) / (error + EQUAL * unit)).max()))
    name = f"{convention} (another convention) {ours.spec}" if convention else ours.spec
    means = f"means over {DRAWS} seeds differ by {deviation:.1f} standard errors"
    if not few:
        return [Result("update", deviation <= SIGMAS, f"{name} in distribution: {means}", deviation, 6 * DRAWS)]
    if not farthest <= CLOSE:
        detail = f"is not {name}: some results are {farthest:.1e} away, relatively, from all that the orders of tasks can give"
        return [Result("update", False, detail, farthest, 6 * DRAWS)]
    every = f"each result is one that {name} gives in some order of the tasks (relative difference {farthest:.1e})"
    first = Result("update", True, every, farthest) if farthest <= EQUAL else observed("update", every, farthest)
    return [first, _orders(reached, possible, deviation, means, ours.spec)]


def _orders(reached: int, possible: int, deviation: float, means: str, name: str) -> Result:
    reach = f"reaches {reached} of the {possible} results that random orders give"
    if deviation <= SIGMAS and reached == possible:
        return Result("random order", True, f"{reach}; {means}", deviation, 6 * DRAWS)
    if reached <= 3:  # one result on each of three matrices
        reach = f"always takes the same order, where {name} draws a new one in each call"
    return Result("random order", False, f"{reach}; {means}", deviation, 6 * DRAWS)


def conflicting(draw: np.random.Generator, tasks: int) -> Matrix:
    """Return normal gradients of which every one conflicts with two others (or with the other one).

    :param draw: the generator.
    :param tasks: K.
    """
    while True:
        rows = normal(draw, tasks, 7) * draw.uniform(0.5, 2.0, (tasks, 1))
        if ((rows @ rows.T < 0.0).sum(axis=1) >= min(2, tasks - 1)).all():
            return rows


def _draws(subject: Subject, rows: Matrix, count: int) -> Matrix:
    instance = Instance(rows, np.ones(len(rows)))
    return np.array([subject.update(instance, seed) for seed in range(count)])


def unique(points: Matrix, unit: float) -> Matrix:
    """Return the different rows of a matrix, up to rounding.

    :param points: (N, P) points.
    :param unit: the magnitude relative to which they are rounded.
    """
    kept: list[Vector] = []
    for point in points:
        if not kept or float(nearest(point[None], np.array(kept))[0]) > EQUAL * unit:
            kept.append(point)
    return np.array(kept)


def nearest(points: Matrix, others: Matrix) -> Vector:
    """Return the distance of each point to the nearest of others.

    :param points: (N, P) points.
    :param others: (M, P) points.
    """
    return np.linalg.norm(points[:, None] - others[None], axis=2).min(axis=1)
