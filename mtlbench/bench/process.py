"""The process that one measurement gets to itself."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection

from mtlbench.bench.job import Measurement
from mtlbench.bench.result import Measured


def run_alone(job: Measurement, found: Measured, heard: Callable[[], object]) -> None:
    """Run a job in a process of its own, and fill in what it tells; its death is its failure alone."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mtlbench.bench.measure"])
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_enter, args=(job, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        while True:
            kind, value = ours.recv()
            if kind == "step":
                found.seconds.append(value)
                heard()
                continue
            if kind == "end":
                found.peak = value
            else:
                found.error = value
            break
    except EOFError:
        process.join()
        code = process.exitcode or 0
        cause = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        found.error = f"its process ended with {cause}" + (" (out of memory?)" if code == -signal.SIGKILL else "")
    finally:
        process.terminate()
        process.join()


def _enter(job: Measurement, connection: Connection) -> None:
    from mtlbench.bench.measure import run_job

    run_job(job, connection)
