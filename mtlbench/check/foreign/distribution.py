"""Compare random foreign code with a random method, over seeds and over all orders of the tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mtlbench.check.families import normal
from mtlbench.check.foreign.borrowed import Examined
from mtlbench.check.result import Result, observed
from mtlbench.check.robust import EQUAL, SIGMAS
from mtlbench.check.subject import Instance, Subject
from mtlbench.contract.observation import Matrix, Vector

DRAWS = 200
"""Seeds over which random methods are compared."""
FEW = 24
"""A random method with at most as many different updates on a matrix chooses among orders; others draw real numbers."""
NEAR = 1e-4
"""Largest relative difference of updates that count as the same: such methods have closed forms, and code in single
precision has some 10⁻⁶."""
STRAY = 0.05
"""Largest accepted share of updates that are none of ours: our draws may miss a rare one."""
Factor = Callable[[int], float]
ANOTHER = "another convention, no fault"
CONVENTIONS: tuple[tuple[str, Factor], ...] = (
    ("", lambda tasks: 1.0),
    (f", divided by K ({ANOTHER})", lambda tasks: 1.0 / tasks),
    (f", times K ({ANOTHER})", lambda tasks: float(tasks)),
)
"""Scales that are conventions: the sum or the mean over tasks."""


@dataclass(frozen=True)
class Draws:
    """Updates of both on one matrix, over seeds.

    :param ours: (N, P) updates of our method.
    :param theirs: (N, P) updates of the foreign code.
    :param distinct: the different ones of ours.
    :param unit: the sum of the gradients' lengths, relative to which differences are measured.
    """

    ours: Matrix
    theirs: Matrix
    distinct: Matrix
    unit: float

    def distance(self, factor: float) -> float:
        """Return the largest distance of theirs, divided by a factor, to the nearest of ours, without rare strays."""
        distances = nearest(self.theirs / factor, self.distinct) / self.unit
        return float(np.quantile(distances, 1.0 - STRAY, method="lower"))

    def deviation(self, factor: float) -> float:
        """Return the largest difference of the means, in standard errors."""
        theirs = self.theirs / factor
        error = np.sqrt((self.ours.var(axis=0) + theirs.var(axis=0)) / DRAWS) + EQUAL * self.unit
        return float((np.abs(self.ours.mean(axis=0) - theirs.mean(axis=0)) / error).max())

    def reached(self, factor: float) -> int:
        """Return how many of our different updates are among theirs."""
        return int((nearest(self.distinct, self.theirs / factor) <= NEAR * self.unit).sum())


def in_distribution(examined: Examined, ours: Subject) -> list[Result]:
    """Compare over seeds: is each of their updates one of ours, do they reach all of ours, and is the mean the same?

    :param examined: the foreign code.
    :param ours: the method that it claims to be.
    """
    tasks, samples = max(examined.usual_tasks, ours.method().min_tasks), []
    for rows in conflicting(tasks):
        mine, theirs = _draws(ours, rows), _draws(examined.subject, rows)
        if not np.isfinite(theirs).all():
            return [Result("update", False, f"not finite on normal gradients, so no comparison with {ours.spec}")]
        unit = float(np.linalg.norm(rows, axis=1).sum())
        samples.append(Draws(mine, theirs, unique(mine, unit), unit))
    if any(len(sample.distinct) > FEW for sample in samples):
        worst, words, _ = _nearest_convention(samples, tasks, Draws.deviation, SIGMAS)
        detail = f"{ours.spec}{words} in distribution: {_means(worst)}"
        if worst <= SIGMAS:
            return [Result("update", True, detail, worst, 8 * DRAWS)]
        return [Result("update", False, f"not {detail}{own_deviations(ours)}", worst, 8 * DRAWS)]
    worst, words, factor = _nearest_convention(samples, tasks, Draws.distance, NEAR)
    measure = f"largest relative difference {worst:.1e} to the nearest of its updates over all orders of the tasks"
    if not worst <= NEAR:
        return [Result("update", False, f"not {ours.spec}: {measure}{own_deviations(ours)}", worst, 8 * DRAWS)]
    detail = f"always an update of {ours.spec}{words}: {measure}"
    first = Result("update", True, detail, worst) if worst <= EQUAL else observed("update", f"close to {detail}", worst)
    return [first, _orders(samples, factor, ours.spec)]


def _nearest_convention(
    samples: list[Draws], tasks: int, measure: Callable[[Draws, float], float], tolerance: float
) -> tuple[float, str, float]:
    """Return the smallest measure over the conventions, the convention in words, and its factor."""
    factors = [(words, factor(tasks)) for words, factor in CONVENTIONS]
    tried = [(max(measure(one, factor) for one in samples), words, factor) for words, factor in factors]
    best = min(tried, key=lambda one: one[0])
    return best if best[0] <= tolerance else tried[0]


def _means(deviation: float) -> str:
    return f"means over {DRAWS} seeds differ by {deviation:.1f} standard errors"


def _orders(samples: list[Draws], factor: float, name: str) -> Result:
    reached, possible = sum(one.reached(factor) for one in samples), sum(len(one.distinct) for one in samples)
    deviation = max(one.deviation(factor) for one in samples)
    detail = f"reaches {reached} of the {possible} updates that random orders give; {_means(deviation)}"
    if deviation <= SIGMAS and reached == possible:
        return Result("random order", True, detail, deviation, 8 * DRAWS)
    if all(len(unique(one.theirs, one.unit)) == 1 for one in samples):
        detail = f"always takes the same order, where {name} draws a new one in each call: {detail}"
    return Result("random order", False, detail, deviation, 8 * DRAWS)


def own_deviations(ours: Subject) -> str:
    """Return a hint that the difference may be ours, for a method that documents deviations from its paper.

    :param ours: our method.
    """
    method = ours.method()
    deviates = "Deviation" in (type(method).__doc__ or "")
    return f"; our own {method.name} deviates from its paper, too: mtlbench info {method.name}" if deviates else ""


def conflicting(tasks: int) -> list[Matrix]:
    """Return four matrices of normal gradients, always the same ones.

    In two of them every task conflicts with two others. In the other two some pairs conflict and some do not; for two
    tasks, the only pair does not.

    :param tasks: K.
    """
    draw, fewest = np.random.default_rng(8), min(2, tasks - 1)
    found: list[Matrix] = []
    while len(found) < 4:
        rows = normal(draw, tasks, 7) * draw.uniform(0.5, 2.0, (tasks, 1))
        conflicts = (rows @ rows.T < 0.0).sum(axis=1)
        if len(found) < 2:
            fits = conflicts.min() >= fewest
        else:
            fits = conflicts.sum() < tasks * (tasks - 1) and (tasks <= 2 or conflicts.max() >= fewest)
        if fits or tasks == 1:
            found.append(rows)
    return found


def _draws(subject: Subject, rows: Matrix) -> Matrix:
    instance = Instance(rows, np.ones(len(rows)))
    return np.array([subject.update(instance, seed) for seed in range(DRAWS)])


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
