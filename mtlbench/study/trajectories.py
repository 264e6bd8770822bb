"""The paper's Figure 1: Adam, and Adam with PCGrad, on the two-dimensional toy problem."""

from __future__ import annotations

from pathlib import Path

from mtlbench.host.provenance import usable_cores
from mtlbench.tasks.toy import Toy
from mtlbench.toy.figure import draw
from mtlbench.toy.pool import run_jobs
from mtlbench.toy.trajectory import ToyJob, Trajectory

METHODS = {"Adam": "sum", "Adam with PCGrad": "pcgrad"}


def trajectories(file: Path) -> str:
    """Run both optimizers from all starts of the CAGrad paper's setting, and draw their trajectories.

    :param file: path of the figure.
    :returns: a description of the figure, with the number of starts that reach the Pareto set.
    """
    problem = Toy("cagrad")
    constants = problem.constants
    jobs = [ToyJob(spec, problem, constants.steps, constants.lr) for spec in METHODS.values()]
    trajectories_by_method = run_jobs(jobs, min(len(jobs), usable_cores()), lambda job, trajectories: None)
    draw(problem, dict(zip(METHODS, trajectories_by_method, strict=True)), [file])
    counts = [f"{name} {_reached(paths)}" for name, paths in zip(METHODS, trajectories_by_method, strict=True)]
    return (
        f"Computed by mtlbench toy: {constants.steps:,} steps at learning rate {constants.lr:g}, from each start (dot) "
        f"to the end (star). The Pareto set (thick) is reached by {' and by '.join(counts)}."
    )


def _reached(paths: list[Trajectory]) -> str:
    return f"from {sum(path.reached for path in paths)} of {len(paths)} starts"
