"""Run a cell on a machine of a cluster, in a process that the cluster started."""

from __future__ import annotations

import platform
import signal
from dataclasses import replace
from typing import cast

from mtlbench.contract.entries import EnvironmentEntry
from mtlbench.execute.executor import RETRIES, CellJob, Event
from mtlbench.execute.stop import Stop
from mtlbench.host.provenance import environment
from mtlbench.records.leases import FolderRemoved, LeaseLost
from mtlbench.records.record import Record
from mtlbench.text.encoder import libraries_of

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)
"""Clusters send SIGTERM or SIGINT to canceled jobs, and SIGUSR2 to jobs that run out of time."""


def run_remote(job: CellJob) -> Event:
    """Run a cell in this process and return its last event, with the notes that could not be sent earlier.

    The record describes the environment of this machine instead of the launcher's.

    :param job: the job, as the launcher submitted it.
    """
    if not job.store.folder.is_dir():
        message = f"the results folder {job.store.folder} is not on {platform.node()}: give --results a shared one"
        return Event("lost", job.cell, message=message)
    try:
        job.lease.renew()
    except (LeaseLost, FolderRemoved) as reason:  # the job was queued again after its cell had ended
        return Event("taken", job.cell, message=str(reason))
    with Stop().listening(SIGNALS) as stop:  # before the imports below, which take seconds
        from mtlbench.execute.worker import run_cell

        libraries = libraries_of(job.cell.recipe)
        here = environment(job.cell.recipe.device, libraries)
        record: Record = {**job.record, "environment": cast(EnvironmentEntry, here)}
    if stop.signal:
        return Event("lost", job.cell, message=f"its process was asked to end, by {stop.signal}", retries=RETRIES)
    notes: list[str] = []

    def keep(event: Event) -> None:
        if event.kind == "note":
            notes.append(event.message)

    event = run_cell(replace(job, record=record), keep, SIGNALS)
    return replace(event, notes=tuple(notes))
