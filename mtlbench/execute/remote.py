"""What runs on a cluster's machine: a cell in a process that somebody else started."""

from __future__ import annotations

import signal
from dataclasses import replace

from mtlbench.execute.executor import Event, Job
from mtlbench.host.provenance import environment

SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""Clusters end what they cancel by one or the other."""


def run_remote(job: Job) -> Event:
    """Run a cell here, and return how it ended, with its notes, which nobody could hear before.

    Its record is told of this machine, in place of the launcher's.
    """
    from mtlbench.execute.worker import run_cell

    notes: list[str] = []

    def keep(event: Event) -> None:
        if event.kind == "note":
            notes.append(event.message)

    record = {**job.record, "environment": environment(job.cell.recipe.device)}
    ended = run_cell(replace(job, record=record), keep, SIGNALS)
    return replace(ended, notes=tuple(notes))
