"""Runs methods on the toy problem in processes of their own, several at a time."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess

import numpy as np

from mtlbench.execute.local import start_fork_server
from mtlbench.toy.trajectory import ToyJob, Trajectory, ended, run_job

Done = Callable[[ToyJob, list[Trajectory]], None]


def run_jobs(jobs: Sequence[ToyJob], workers: int, heard: Done) -> list[list[Trajectory]]:
    """Run jobs, some at a time, and return their trajectories in the jobs' order; the results do not depend on it.

    :param jobs: of different methods.
    :param workers: how many at a time; 1 runs them in this process.
    :param heard: called with every job that is done.
    """
    found = dict[str, list[Trajectory]]()

    def done(job: ToyJob, trajectories: list[Trajectory]) -> None:
        found[job.method] = trajectories
        heard(job, trajectories)

    if workers == 1:
        for job in jobs:
            done(job, run_job(job))
    else:
        _in_processes(jobs, workers, done)
    return [found[job.method] for job in jobs]


def _in_processes(jobs: Sequence[ToyJob], workers: int, done: Done) -> None:
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
                process.start()
                theirs.close()
                running[ours] = job, process
            for ready in wait(list(running)):
                assert isinstance(ready, Connection)
                job, process = running.pop(ready)
                done(job, _receive(ready, job, process))
    finally:  # left by Ctrl-C, processes may still run
        for _, process in running.values():
            process.terminate()


def _enter(job: ToyJob, connection: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
    connection.send(run_job(job))


def _receive(connection: Connection, job: ToyJob, process: ForkServerProcess) -> list[Trajectory]:
    """Return what a process found; one that died without a word costs its own method only."""
    try:
        found: list[Trajectory] = connection.recv()
    except EOFError:
        process.join()
        error = f"its process ended with exit code {process.exitcode}"
        starts = job.problem.constants.starts
        found = [ended(Trajectory(start, error=error), job.problem, np.array(start)) for start in starts]
    process.join()
    connection.close()
    return found
