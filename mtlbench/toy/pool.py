"""Run methods on the toy problem in processes of their own, several at a time."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess

import numpy as np

from mtlbench.execute.local import start_fork_server
from mtlbench.host.processes import without_script
from mtlbench.toy.trajectory import ToyJob, Trajectory, ended, run_job

Done = Callable[[ToyJob, list[Trajectory]], None]


def run_jobs(jobs: Sequence[ToyJob], workers: int, on_done: Done) -> list[list[Trajectory]]:
    """Run jobs and return their trajectories, in the order of the jobs; the number of workers changes no result.

    :param jobs: each of another method.
    :param workers: jobs to run at a time; 1 runs them in this process.
    :param on_done: called with each finished job and its trajectories.
    """
    results = dict[str, list[Trajectory]]()

    def done(job: ToyJob, trajectories: list[Trajectory]) -> None:
        results[job.method] = trajectories
        on_done(job, trajectories)

    if workers == 1:
        for job in jobs:
            done(job, run_job(job))
    else:
        _run_in_processes(jobs, workers, done)
    return [results[job.method] for job in jobs]


def _run_in_processes(jobs: Sequence[ToyJob], workers: int, done: Done) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mtlbench.toy.trajectory"])
    start_fork_server()
    waiting, running = deque(jobs), dict[Connection, tuple[ToyJob, ForkServerProcess]]()
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                job = waiting.popleft()
                ours, theirs = context.Pipe(duplex=False)
                process = context.Process(target=_enter, args=(job, theirs), daemon=True)
                with without_script():
                    process.start()
                theirs.close()
                running[ours] = job, process
            for connection in wait(list(running)):
                assert isinstance(connection, Connection)
                job, process = running.pop(connection)
                done(job, _receive(connection, job, process))
    finally:  # after Ctrl-C, processes may still run
        for _, process in running.values():
            process.terminate()


def _enter(job: ToyJob, connection: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Ctrl-C the parent ends this process
    connection.send(run_job(job))


def _receive(connection: Connection, job: ToyJob, process: ForkServerProcess) -> list[Trajectory]:
    """Return the trajectories from a process; if it died, trajectories with an error."""
    try:
        trajectories: list[Trajectory] = connection.recv()
    except EOFError:
        process.join()
        error = f"its process ended with exit code {process.exitcode}"
        starts = job.problem.constants.starts
        trajectories = [ended(Trajectory(start, error=error), job.problem, np.array(start)) for start in starts]
    process.join()
    connection.close()
    return trajectories
