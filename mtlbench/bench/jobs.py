"""What is to be measured, and the process that one measurement gets to itself. No torch here: errors come at once."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from mtlbench.bench.result import Found
from mtlbench.plan.suite import Recipe

WARM_UP = 2
"""Steps that are not timed: the first ones also pay for memory and the optimizer's state."""


@dataclass(frozen=True)
class Job:
    """One contender to measure.

    :param method: its spec; ``None`` for the plain padded sum.
    :param recipe: its engine is the contender's.
    """

    method: str | None
    recipe: Recipe
    suite: str
    data_dir: Path | None = None
    plugin_files: tuple[str, ...] = ()


def run_alone(job: Job, found: Found, heard: Callable[[], object]) -> None:
    """Run a job in a process of its own, and fill in what it tells; its death is its failure alone."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mtlbench.bench.worker"])
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


def _enter(job: Job, connection: Connection) -> None:
    from mtlbench.bench.worker import run_job

    run_job(job, connection)
