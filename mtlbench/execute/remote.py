"""What runs on a cluster's machine: a cell in a process that somebody else started."""

from __future__ import annotations

import signal
from dataclasses import replace

from mtlbench.execute.executor import Event, Job
from mtlbench.provenance import environment

SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""Clusters end what they cancel by one or the other."""


def run_remote(job: Job) -> Event:
    """Run a cell here, and return how it ended. Its record is told of this machine, in place of the launcher's."""
    from mtlbench.execute.worker import run_cell

    record = {**job.record, "environment": environment(job.cell.recipe.device)}
    return run_cell(replace(job, record=record), lambda event: None, SIGNALS)
