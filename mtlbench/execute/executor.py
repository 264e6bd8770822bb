"""What every executor offers: it takes jobs, and tells what became of them. Workers write their records themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mtlbench.plan.cells import Cell
from mtlbench.records.leases import Lease
from mtlbench.records.record import Record
from mtlbench.records.store import Store

RETRIES = 2
"""Further tries of a cell whose process crashed or was stopped from outside. Each goes on from its checkpoint."""


@dataclass(frozen=True)
class CellJob:
    """One try at a cell: all that a worker needs, wherever it is.

    :param record: the header, see :func:`mtlbench.records.record.header`.
    """

    cell: Cell
    record: Record
    store: Store
    lease: Lease


@dataclass(frozen=True)
class Event:
    """Something happened to a cell.

    :param kind: ``"started"``, ``"step"``, ``"note"``; the record is written: ``"done"``, ``"failed"``; there is none:
        ``"lost"`` (its process or machine went away), ``"taken"`` (another launcher runs it). The loop itself tells
        ``"again"`` (the next try), ``"waiting"`` (for ``total`` cells that other launchers run) and ``"stopping"``
        (after Ctrl-C, those that run here).
    :param done: steps done, of ``total``.
    :param message: why it failed, or was lost; or what people should know of it.
    :param retries: how many further tries a lost cell deserves.
    :param notes: what the worker would have told before, where it is on another machine.
    """

    kind: str
    cell: Cell
    done: int = 0
    total: int = 0
    message: str = ""
    retries: int = 0
    notes: tuple[str, ...] = ()


class Executor(Protocol):
    """Runs jobs, each in a process of its own."""

    @property
    def capacity(self) -> int:
        """How many jobs it takes at a time, running or queued."""

    def submit(self, jobs: Sequence[CellJob]) -> None:
        """Take jobs."""

    def wait(self, seconds: float) -> Sequence[Event]:
        """Return what happened, as soon as something did, or nothing after some seconds.

        Every job ends with exactly one event that is not ``"started"``, ``"step"`` or ``"note"``.
        """

    def stop(self, grace: float) -> None:
        """Ask what still runs to end, kill it after some seconds of grace, and return when nothing runs."""
