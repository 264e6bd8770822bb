"""One method on the toy problem, from all starts at once."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mtlbench.contract.method import Method
from mtlbench.contract.method_input import observe
from mtlbench.contract.observation import Vector
from mtlbench.errors import CellError
from mtlbench.plugins.registry import load_registry
from mtlbench.solvers.adam import Adam
from mtlbench.tasks.toy import Array, Toy

KEPT = 1000
"""Points of a trajectory that are kept for the figure, evenly spaced in steps."""
REACHED = 0.1
"""A trajectory reached the Pareto set if it ends no farther from it than this."""


@dataclass(frozen=True)
class ToyJob:
    """What one process does: a method by its spec, on a setting of the problem, from every start of the setting."""

    method: str
    problem: Toy
    steps: int
    lr: float
    plugin_files: tuple[str, ...] = ()


@dataclass
class Trajectory:
    """The way of one point.

    :param path: points on the way, the first and the last included.
    :param losses: (2,) losses at the last one.
    :param distance: from the last one to the Pareto set.
    :param steps: how many were completed.
    :param error: what the method raised in the step after those.
    """

    start: tuple[float, float]
    path: list[Vector] = field(default_factory=list)
    losses: Vector = field(default_factory=lambda: np.full(2, np.nan))
    distance: float = np.nan
    steps: int = 0
    error: str | None = None

    @property
    def reached(self) -> bool:
        """Whether the point ended at the Pareto set."""
        return self.error is None and self.distance <= REACHED


def refusal(method: Method) -> str | None:
    """Return why a method cannot run on two losses of one point, or ``None`` if it can."""
    if not method.joint:
        return "it trains one model per task, and here is one point"
    if method.min_tasks > 2:
        return f"it needs at least {method.min_tasks} tasks, and here are 2"
    return None


def reads_losses(method: Method) -> bool:
    """Whether a method is told losses: those above :attr:`Toy.bounds`, which are positive and have the same gradients.

    FAMO's authors do so. The losses here fall below 0, where logarithms and ratios of losses mean nothing.
    """
    return method.reads_losses != "no" or method.reads_after


def run_job(job: ToyJob) -> list[Trajectory]:
    """Run Adam on a method's updates from every start; a start has a method object, and random numbers, of its own.

    A method that raises stops its own trajectory only. The result depends on nothing but the job.
    """
    walks = [_Walk(job, number) for number in range(len(job.problem.constants.starts))]
    points, optimizer = np.array(job.problem.constants.starts), Adam()
    kept = set(np.linspace(0, job.steps, min(KEPT, job.steps + 1)).astype(int).tolist())
    losses, gradients = job.problem.evaluate(points)
    for step in range(job.steps):
        updates = np.stack([walk.update(*seen) for walk, *seen in zip(walks, losses, gradients, strict=True)])
        going = np.array([walk.trajectory.error is None for walk in walks])
        if not going.any():
            break
        points = np.where(going[:, None], optimizer.step(points, updates, job.lr), points)
        losses, gradients = job.problem.evaluate(points)
        for walk, point, after in zip(walks, points, losses, strict=True):
            walk.arrive(point, after, keep=step + 1 in kept)
    return [ended(walk.trajectory, job.problem, point) for walk, point in zip(walks, points, strict=True)]


def ended(trajectory: Trajectory, problem: Toy, point: Vector) -> Trajectory:
    """Return a trajectory, complete with its last point."""
    if not (trajectory.path and np.array_equal(trajectory.path[-1], point)):
        trajectory.path.append(point)
    trajectory.losses = problem.evaluate(point[None])[0][0]
    front = problem.pareto_set(np.linspace(-7.0, 7.0, 1401))
    trajectory.distance = float(np.linalg.norm(front - point, axis=1).min())
    return trajectory


class _Walk:
    """A method with its state on one trajectory; it stands still once the method has raised."""

    def __init__(self, job: ToyJob, number: int) -> None:
        start = job.problem.constants.starts[number]
        self.method = load_registry(job.plugin_files).method(job.method)
        self.method.reseed(number)
        self.told_from = job.problem.bounds if reads_losses(self.method) else np.zeros(2)
        self.trajectory = Trajectory(start, path=[np.array(start)])

    def update(self, losses: Vector, gradients: Array) -> Vector:
        """Return the method's update, clipped if its paper clips it."""
        if self.trajectory.error is not None:
            return np.zeros(2)
        try:
            update = _ask(self.method, losses - self.told_from, gradients)
        except Exception as error:  # a plugin may fail in any way at all; the other trajectories go on
            self._fail(error)
            return np.zeros(2)
        norm, most = float(np.linalg.norm(update)), self.method.clip_norm
        return update if most is None or norm <= most else update * (most / norm)

    def arrive(self, point: Vector, losses: Vector, *, keep: bool) -> None:
        """Note the point, and tell the method of the losses after the step, if it reads them."""
        if self.trajectory.error is not None:
            return
        if keep:
            self.trajectory.path.append(point)
        try:
            if self.method.reads_after:
                self.method.after_step(losses - self.told_from)
            self.trajectory.steps += 1
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self.trajectory.error = f"{type(error).__name__}: {' '.join(str(error).split())}"


def _ask(method: Method, losses: Vector, gradients: Array) -> Vector:
    """Ask a method for its update, as the engine does.

    Both coordinates are shared parameters, the last shared layer and the representation all in one; and every batch
    gives the same gradients, so independent batches have the inner products of one.
    """
    gram = gradients @ gradients.T
    if method.reads == "gradients":
        import torch

        seen = observe(method, losses=losses, gradients=torch.tensor(gradients))
    else:
        seen = observe(
            method,
            losses=losses,
            gram=gram if method.reads == "gram" else None,
            cross_gram=gram if method.reads == "cross_gram" else None,
        )
    if method.returns == "update":
        update = np.asarray(method.update(seen), dtype=np.float64)
    else:
        weights = np.asarray(method.weights(seen), dtype=np.float64)
        if weights.shape != (2,):
            raise CellError(f"method {method.name} returned weights of shape {weights.shape}, not 2 numbers")
        update = weights @ gradients
    if update.shape != (2,) or not np.isfinite(update).all():
        raise CellError(f"method {method.name} returned an update that is not 2 finite numbers: {update.tolist()}")
    return update
