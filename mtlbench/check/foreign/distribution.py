"""Compare random foreign code with a random method, over seeds and over all orders of the tasks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mtlbench.check.families import normal
from mtlbench.check.foreign.borrowed import Examined
from mtlbench.check.foreign.conduct import CLOSE
from mtlbench.check.result import Result, observed
from mtlbench.check.robust import EQUAL, SIGMAS
from mtlbench.check.subject import Instance, Subject
from mtlbench.contract.observation import Matrix, Vector

DRAWS = 200
"""Seeds over which random methods are compared."""
FEW = 64
"""A random method with at most as many different updates on a matrix chooses among orders; others draw real numbers."""
Factor = Callable[[int], float]
ANOTHER = "another convention, no fault"
CONVENTIONS: tuple[tuple[str, Factor], ...] = (
    ("", lambda tasks: 1.0),
    (f", divided by K ({ANOTHER})", lambda tasks: 1.0 / tasks),
    (f", times K ({ANOTHER})", lambda tasks: float(tasks)),
)
"""Scales that are conventions: the sum or the mean over tasks."""


def in_distribution(examined: Examined, ours: Subject) -> list[Result]:
    """Compare over seeds: is each of their updates one of ours, do they reach all of ours, and is the mean the same?

    :param examined: the foreign code.
    :param ours: the method that it claims to be.
    """
    tasks = max(examined.usual_tasks, ours.method().min_tasks)
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
    name = f"{ours.spec}{convention}"
    means = f"means over {DRAWS} seeds differ by {deviation:.1f} standard errors"
    if not few:
        return [Result("update", deviation <= SIGMAS, f"{name} in distribution: {means}", deviation, 6 * DRAWS)]
    if not farthest <= CLOSE:
        detail = (
            f"not {name}: largest relative difference {farthest:.1e} to the nearest update over all orders of the tasks"
        )
        return [Result("update", False, detail, farthest, 6 * DRAWS)]
    every = (
        f"always one of the updates of {name} over all orders of the tasks: largest relative difference {farthest:.1e}"
    )
    first = Result("update", True, every, farthest) if farthest <= EQUAL else observed("update", every, farthest)
    return [first, _orders(reached, possible, deviation, means, ours.spec)]


def _orders(reached: int, possible: int, deviation: float, means: str, name: str) -> Result:
    reach = f"reaches {reached} of the {possible} updates that random orders give"
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
