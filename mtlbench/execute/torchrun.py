"""Cells in the processes that ``torchrun`` has started: one cell at a time, in all of them together.

Process 0 is the launcher, and trains too; it hands the others the keys of cells through torchrun's own store.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

from torch.distributed import PrefixStore, Store, rendezvous  # type: ignore[attr-defined]

from mtlbench.engine.processes import Processes, joined
from mtlbench.errors import UsageError, one_line
from mtlbench.execute.executor import CellJob, Event
from mtlbench.execute.worker import follow, run_cell
from mtlbench.plan.cells import Cell
from mtlbench.records.store import Store as Records

FOR_EVER = timedelta(days=365)
"""How long the others wait for the next cell. They do not outlive process 0: torchrun ends them."""


class Torchrun:
    """Runs each cell in a thread of process 0 and, at the same time, in all other processes."""

    capacity = 1

    def __init__(self) -> None:
        self._store, self._count = _rendezvous()
        self._handed = 0
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def submit(self, jobs: Sequence[CellJob]) -> None:
        for job in jobs:
            meeting = PrefixStore(_name(self._handed), self._store)
            self._hand(job.cell.key)
            self._events.put(Event("started", job.cell))
            threading.Thread(target=self._run, args=(job, meeting), daemon=True).start()

    def wait(self, seconds: float) -> Sequence[Event]:
        try:
            return [self._events.get(timeout=seconds)]
        except queue.Empty:
            return []

    def stop(self, grace: float) -> None:
        """Send the others home. A cell that still runs ends with this process."""
        self._hand("")

    def _hand(self, key: str) -> None:
        self._store.set(_name(self._handed), key)
        self._handed += 1

    def _run(self, job: CellJob, meeting: Store) -> None:
        def meet(
            count: int, device: str, work: Callable[[Processes], None]
        ) -> contextlib.AbstractContextManager[Processes]:
            return joined(meeting, 0, count, device)  # the others have the work already

        try:
            self._events.put(run_cell(job, self._events.put, (), meet))
        except Exception as error:  # as where a process of its own dies
            self._events.put(Event("lost", job.cell, message=f"{type(error).__name__}: {error}"))


def follow_cells(cells: Sequence[Cell], records: Records) -> int:
    """Train what process 0 hands out, as one of its other processes; return when there is no more.

    :raises UsageError: for a cell that this process does not know: it was started with another command, or other files;
        when process 0 is gone.
    """
    store, count = _rendezvous()
    known, number = {cell.key: cell for cell in cells}, 0
    while True:
        with _met():
            store.wait([_name(number)], FOR_EVER)
            key = store.get(_name(number)).decode()
        if not key:
            return 0
        if key not in known:
            raise UsageError(
                "process 0 of torchrun plans other cells: are data, model and plugins the same everywhere?"
            )
        meeting = PrefixStore(_name(number), store)
        with (
            contextlib.suppress(Exception),  # process 0 hears of it, and records it
            joined(meeting, int(os.environ["RANK"]), count, known[key].recipe.device) as processes,
        ):
            follow(known[key], records, processes)
        number += 1


def _rendezvous() -> tuple[Store, int]:
    """Return torchrun's store, and how many processes it has started."""
    with _met():
        store, _, count = next(rendezvous("env://"))
    return store, count


@contextlib.contextmanager
def _met() -> Iterator[None]:
    """Talk to torchrun's store.

    :raises UsageError: when it does not answer: this process does not reach it, or process 0 is gone.
    """
    try:
        yield
    except (RuntimeError, ValueError) as error:  # what torch raises of networks, and of addresses
        raise UsageError(f"process 0 of torchrun does not answer: {one_line(str(error), 200)}") from None


def _name(number: int) -> str:
    return f"mtlbench cell {number}"
