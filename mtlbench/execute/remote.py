"""What runs on a cluster's machine: a cell in a process that somebody else started."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from typing import Any

from mtlbench.execute.executor import Event, Job
from mtlbench.provenance import environment


def run_remote(job: Job) -> Event:
    """Run a cell here, and return how it ended. Its record is told of this machine, in place of the launcher's.

    Clusters interrupt what they cancel; to a worker, an end from outside is SIGTERM, whoever asks for it.
    """
    signal.signal(signal.SIGINT, _terminate)
    from mtlbench.execute.worker import run_cell

    record = {**job.record, "environment": environment(job.cell.recipe.device)}
    return run_cell(replace(job, record=record), lambda event: None)


def _terminate(number: int, frame: Any) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
