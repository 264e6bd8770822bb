"""Run one measurement in a process of its own."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection

from mtlbench.bench.job import BenchJob
from mtlbench.bench.result import ContenderResult
from mtlbench.host.processes import uninterrupted, without_script
from mtlbench.plan.cells import modules_of


def run_alone(job: BenchJob, result: ContenderResult, on_step: Callable[[], object]) -> None:
    """Run a job in a process of its own and fill in its result; if the process dies, the result has the error.

    :param result: receives the measurements.
    :param on_step: called after each timed step.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mtlbench.bench.measure", *modules_of(job.recipe)])
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_enter, args=(job, theirs), daemon=True)
    with without_script(), uninterrupted():
        process.start()
    theirs.close()
    try:
        while True:
            kind, value = ours.recv()
            if kind == "step":
                result.seconds.append(value)
                on_step()
                continue
            if kind == "end":
                result.peak = value
            else:
                result.error = value
            break
    except EOFError:
        process.join()
        code = process.exitcode or 0
        cause = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        result.error = f"its process ended with {cause}" + (" (out of memory?)" if code == -signal.SIGKILL else "")
    finally:
        process.terminate()
        process.join()


def _enter(job: BenchJob, connection: Connection) -> None:
    from mtlbench.bench.measure import run_job

    run_job(job, connection)
