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
    """Run both from all starts of the CAGrad paper's setting, draw their ways, and say where they ended."""
    problem = Toy("cagrad")
    constants = problem.constants
    jobs = [ToyJob(spec, problem, constants.steps, constants.lr) for spec in METHODS.values()]
    found = run_jobs(jobs, min(len(jobs), usable_cores()), lambda job, ways: None)
    draw(problem, dict(zip(METHODS, found, strict=True)), [file])
    told = [f"{name} {_reached(ways)}" for name, ways in zip(METHODS, found, strict=True)]
    return (
        f"Computed by mtlbench toy: {constants.steps:,} steps at learning rate {constants.lr:g}, from each start (dot) "
        f"to the end (star). The Pareto set (thick) is reached by {' and by '.join(told)}."
    )


def _reached(ways: list[Trajectory]) -> str:
    return f"from {sum(way.reached for way in ways)} of {len(ways)} starts"
