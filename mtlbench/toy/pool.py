"""Run methods on the toy problem in processes of their own, several at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mtlbench.execute.pool import Died, run_in_processes
from mtlbench.toy.trajectory import ToyJob, Trajectory, ended, run_job

Done = Callable[[ToyJob, list[Trajectory]], None]


def run_jobs(jobs: Sequence[ToyJob], workers: int, on_done: Done) -> list[list[Trajectory]]:
    """Run jobs and return their trajectories, in the order of the jobs; the number of workers changes no result.

    :param jobs: each of another method.
    :param workers: jobs to run at a time; 1 runs them in this process.
    :param on_done: called with each finished job and its trajectories.
    """
    results = dict[str, list[Trajectory]]()
    for job, result in run_in_processes(run_job, jobs, workers, ["mtlbench.toy.trajectory"]):
        results[job.method] = _died(job, result) if isinstance(result, Died) else result
        on_done(job, results[job.method])
    return [results[job.method] for job in jobs]


def _died(job: ToyJob, died: Died) -> list[Trajectory]:
    """Return trajectories with an error, for a method whose process died."""
    error = f"its process ended with exit code {died.exitcode}"
    starts = job.problem.constants.starts
    return [ended(Trajectory(start, error=error), job.problem, np.array(start)) for start in starts]
