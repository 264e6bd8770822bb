"""Run a function on several jobs at a time, each in a process of its own on this machine."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from typing import Any, TypeVar

from mtlbench.execute.local import start_fork_server
from mtlbench.host.processes import uninterrupted, without_script

Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Died:
    """What came of a job whose process ended without a result.

    :param exitcode: of the process; for a signal, its negated number.
    """

    exitcode: int


def run_in_processes(
    work: Callable[[Job], Result], jobs: Sequence[Job], workers: int, preload: Sequence[str]
) -> Generator[tuple[Job, Result | Died], None, None]:
    """Yield each job with its result, as soon as there is one. On Ctrl-C, and when the caller stops, processes end.

    :param work: what is done with a job; a function that pickle finds by its name.
    :param jobs: in the order of their start.
    :param workers: how many run at a time; 1 runs them in this process.
    :param preload: modules that a server imports once for all processes.
    """
    if workers == 1:
        for job in jobs:
            yield job, work(job)
        return
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    start_fork_server()
    waiting, running = deque(jobs), dict[Connection, tuple[Job, ForkServerProcess]]()
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                job = waiting.popleft()
                ours, theirs = context.Pipe(duplex=False)
                process = context.Process(target=_enter, args=(work, job, theirs), daemon=True)
                with without_script(), uninterrupted():
                    process.start()
                theirs.close()
                running[ours] = job, process
            for connection in wait(list(running)):
                assert isinstance(connection, Connection)
                job, process = running[connection]
                result = _receive(connection, process)
                del running[connection]
                yield job, result
    finally:
        for _, process in running.values():
            process.terminate()


def _enter(work: Callable[[Job], Result], job: Job, connection: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Ctrl-C the parent ends this process
    connection.send(work(job))


def _receive(connection: Connection, process: ForkServerProcess) -> Any:
    with connection:
        try:
            result = connection.recv()
        except EOFError:
            result = None
    process.join()
    return result if process.exitcode == 0 else Died(process.exitcode or 0)
