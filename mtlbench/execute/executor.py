"""The interface of executors: they accept jobs and report events. Workers write the records themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mtlbench.plan.cells import Cell
from mtlbench.records.leases import Lease
from mtlbench.records.record import Record
from mtlbench.records.store import Store

RETRIES = 2
"""Retries of a cell whose process crashed or was stopped from outside. Each resumes from the cell's checkpoint."""


@dataclass(frozen=True)
class CellJob:
    """One attempt at a cell, with everything that a worker needs on any machine.

    :param cell: the cell.
    :param record: the header of the cell's record, see :func:`mtlbench.records.record.header`.
    :param store: the results folder.
    :param lease: the lease of the cell, claimed by the launcher.
    """

    cell: Cell
    record: Record
    store: Store
    lease: Lease


@dataclass(frozen=True)
class Event:
    """Something that happened to a cell.

    :param kind: ``"started"``, ``"step"`` or ``"note"`` while the cell runs; ``"done"`` or ``"failed"`` once its record
        is written; ``"lost"`` (its process or machine is gone) or ``"taken"`` (another launcher runs it) if it ends
        without a record. The scheduler adds ``"again"`` (the next attempt), ``"waiting"`` (for ``total`` cells that
        other launchers run) and ``"stopping"`` (after Ctrl-C, for the ``total`` cells that run here).
    :param cell: the cell.
    :param done: number of finished steps; for ``"again"``, the number of the attempt.
    :param total: number of all steps, or of cells.
    :param message: the reason of a failure or loss, or a note for the user.
    :param retries: number of retries that a lost cell deserves.
    :param notes: notes of a worker that cannot send events before its cell ends.
    """

    kind: str
    cell: Cell
    done: int = 0
    total: int = 0
    message: str = ""
    retries: int = 0
    notes: tuple[str, ...] = ()


class Executor(Protocol):
    """Interface of executors, which run each job in its own process."""

    @property
    def capacity(self) -> int:
        """Maximum number of jobs at a time, running or queued."""

    def submit(self, jobs: Sequence[CellJob]) -> None:
        """Start or queue jobs.

        :param jobs: no more than :attr:`capacity` minus the jobs that have not ended.
        """

    def wait(self, seconds: float) -> Sequence[Event]:
        """Return the next events as soon as there are any.

        Each job ends with exactly one event other than ``"started"``, ``"step"`` and ``"note"``.

        :param seconds: time after which to return without events.
        """

    def stop(self, grace: float) -> None:
        """Ask the running jobs to end, kill those that do not, and return when none is left.

        :param grace: seconds between the request and the kill.
        """
