"""What runs on a cluster's machine: a cell in a process that somebody else started."""

from __future__ import annotations

import platform
import signal
from dataclasses import replace
from typing import cast

from mtlbench.execute.executor import RETRIES, CellJob, Event
from mtlbench.execute.stop import Stop
from mtlbench.host.provenance import environment
from mtlbench.records.entries import EnvironmentEntry
from mtlbench.records.leases import FolderRemoved, LeaseLost
from mtlbench.records.record import Record

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)
"""Clusters end what they cancel by the first or the second, and what has no time left by the third."""


def run_remote(job: CellJob) -> Event:
    """Run a cell here, and return how it ended, with its notes, which nobody could hear before.

    Its record is told of this machine, in place of the launcher's.
    """
    if not job.store.folder.is_dir():
        why = f"the results folder {job.store.folder} is not on {platform.node()}: give --results a shared one"
        return Event("lost", job.cell, message=why)
    try:
        job.lease.renew()
    except (LeaseLost, FolderRemoved) as gone:  # a job that was queued again after its cell had ended
        return Event("taken", job.cell, message=str(gone))
    with Stop().listening(SIGNALS) as stop:  # from now on: the imports below take seconds
        from mtlbench.execute.worker import run_cell

        record: Record = {**job.record, "environment": cast(EnvironmentEntry, environment(job.cell.recipe.device))}
    if stop.signal:
        return Event("lost", job.cell, message=f"its process was asked to end, by {stop.signal}", retries=RETRIES)
    notes: list[str] = []

    def keep(event: Event) -> None:
        if event.kind == "note":
            notes.append(event.message)

    ended = run_cell(replace(job, record=record), keep, SIGNALS)
    return replace(ended, notes=tuple(notes))
