"""Trajectories of one method on the toy problem, from all starts at once."""

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

MOST_POINTS = 1000
"""Most points of a trajectory that are stored for the figure, evenly spaced in steps."""
REACHED = 0.1
"""Greatest distance from the Pareto set at which a trajectory counts as having reached it."""


@dataclass(frozen=True)
class ToyJob:
    """One method to run from every start of a setting, as passed to its process.

    :param method: its spec.
    :param steps: optimizer steps.
    :param lr: learning rate of Adam.
    :param plugin_files: Python files that define further methods.
    """

    method: str
    problem: Toy
    steps: int
    lr: float
    plugin_files: tuple[str, ...] = ()


@dataclass
class Trajectory:
    """The path of one point.

    :param start: first point, (x₁, x₂).
    :param path: points of shape (2,), including the first and the last.
    :param losses: losses at the last point, shape (2,).
    :param distance: from the last point to the Pareto set.
    :param steps: number of completed steps.
    :param error: what the method raised in the step after those, or ``None``.
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
    """Return why a method cannot run on two losses of one point; ``None`` if it can."""
    if not method.joint:
        return "it trains one model per task, and here is one point"
    if method.min_tasks > 2:
        return f"it needs at least {method.min_tasks} tasks, and here are 2"
    return None


def reads_losses(method: Method) -> bool:
    """Return whether a method reads losses, and so receives those above :attr:`Toy.bounds`.

    These are positive and have the same gradients. The problem's own losses fall below 0, where logarithms and ratios
    of losses have no meaning. FAMO's authors do the same.
    """
    return method.reads_losses != "no" or method.reads_after


def run_job(job: ToyJob) -> list[Trajectory]:
    """Run Adam on a method's updates from every start.

    Each start has its own method object and random numbers. A method that raises stops its own trajectory only. The
    result depends only on the job.

    :returns: one trajectory per start.
    """
    walks = [_Walk(job, number) for number in range(len(job.problem.constants.starts))]
    points, optimizer = np.array(job.problem.constants.starts), Adam()
    stored = set(np.linspace(0, job.steps, min(MOST_POINTS, job.steps + 1)).astype(int).tolist())
    losses, gradients = job.problem.evaluate(points)
    for step in range(job.steps):
        updates = np.stack([walk.update(*values) for walk, *values in zip(walks, losses, gradients, strict=True)])
        running = np.array([walk.trajectory.error is None for walk in walks])
        if not running.any():
            break
        points = np.where(running[:, None], optimizer.step(points, updates, job.lr), points)
        losses, gradients = job.problem.evaluate(points)
        for walk, point, losses_after in zip(walks, points, losses, strict=True):
            walk.arrive(point, losses_after, store=step + 1 in stored)
    return [ended(walk.trajectory, job.problem, point) for walk, point in zip(walks, points, strict=True)]


def ended(trajectory: Trajectory, problem: Toy, point: Vector) -> Trajectory:
    """Complete a trajectory with its last point, the losses there, and the distance to the Pareto set.

    :param point: the last point, shape (2,).
    :returns: the same object.
    """
    if not (trajectory.path and np.array_equal(trajectory.path[-1], point)):
        trajectory.path.append(point)
    trajectory.losses = problem.evaluate(point[None])[0][0]
    front = problem.pareto_set(np.linspace(-7.0, 7.0, 1401))
    trajectory.distance = float(np.linalg.norm(front - point, axis=1).min())
    return trajectory


class _Walk:
    """A method and its state on one trajectory, which stops once the method has raised."""

    def __init__(self, job: ToyJob, number: int) -> None:
        start = job.problem.constants.starts[number]
        self.method = load_registry(job.plugin_files).method(job.method)
        self.method.reseed(number)
        self.loss_bounds = job.problem.bounds if reads_losses(self.method) else np.zeros(2)
        self.trajectory = Trajectory(start, path=[np.array(start)])

    def update(self, losses: Vector, gradients: Array) -> Vector:
        """Return the method's update, clipped if its paper clips it."""
        if self.trajectory.error is not None:
            return np.zeros(2)
        try:
            update = _update(self.method, losses - self.loss_bounds, gradients)
        except Exception as error:  # a plugin may raise anything; the other trajectories continue
            self._fail(error)
            return np.zeros(2)
        norm, limit = float(np.linalg.norm(update)), self.method.clip_norm
        return update if limit is None or norm <= limit else update * (limit / norm)

    def arrive(self, point: Vector, losses: Vector, *, store: bool) -> None:
        """Finish a step: store the point, and pass the new losses to a method that reads them after the step."""
        if self.trajectory.error is not None:
            return
        if store:
            self.trajectory.path.append(point)
        try:
            if self.method.reads_after:
                self.method.after_step(losses - self.loss_bounds)
            self.trajectory.steps += 1
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self.trajectory.error = f"{type(error).__name__}: {' '.join(str(error).split())}"


def _update(method: Method, losses: Vector, gradients: Array) -> Vector:
    """Return a method's update, computed as the engine does.

    The two coordinates serve as shared parameters, as the last shared layer and as the representation. Every batch has
    the same gradients, so inner products between independent batches are those of one batch.

    :param losses: shape (2,).
    :param gradients: shape (2 tasks, 2 coordinates).
    :raises CellError: if the method returns no finite update.
    """
    gram = gradients @ gradients.T
    if method.reads == "gradients":
        import torch

        observation = observe(method, losses=losses, gradients=torch.tensor(gradients))
    else:
        observation = observe(
            method,
            losses=losses,
            gram=gram if method.reads == "gram" else None,
            cross_gram=gram if method.reads == "cross_gram" else None,
        )
    if method.returns == "update":
        update = np.asarray(method.update(observation), dtype=np.float64)
    else:
        weights = np.asarray(method.weights(observation), dtype=np.float64)
        if weights.shape != (2,):
            raise CellError(f"method {method.name} returned weights of shape {weights.shape}, not 2 numbers")
        update = weights @ gradients
    if update.shape != (2,) or not np.isfinite(update).all():
        raise CellError(f"method {method.name} returned an update that is not 2 finite numbers: {update.tolist()}")
    return update
