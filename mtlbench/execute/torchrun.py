"""Run cells in the processes that ``torchrun`` started: one cell at a time, in all of them together.

Process 0 is the launcher and also trains; it sends the keys of cells to the others through torchrun's store.
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

FOREVER = timedelta(days=365)
"""Time that the other processes wait for the next cell. They do not outlive process 0, since torchrun ends them."""


class Torchrun:
    """Executor that runs each cell in a thread of process 0 and, at the same time, in all other processes."""

    capacity = 1

    def __init__(self) -> None:
        self._store, self._count = _rendezvous()
        self._sent = 0
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def submit(self, jobs: Sequence[CellJob]) -> None:
        """Send a job to all processes and start it in a thread.

        :param jobs: a single job.
        """
        for job in jobs:
            meeting = PrefixStore(_name(self._sent), self._store)
            self._send(job.cell.key)
            self._events.put(Event("started", job.cell))
            threading.Thread(target=self._run, args=(job, meeting), daemon=True).start()

    def wait(self, seconds: float) -> Sequence[Event]:
        """Return the next event as soon as there is one.

        :param seconds: time after which to return without an event.
        """
        try:
            return [self._events.get(timeout=seconds)]
        except queue.Empty:
            return []

    def stop(self, grace: float) -> None:
        """Tell the other processes to end. A running cell ends with this process.

        :param grace: not used.
        """
        self._send("")

    def _send(self, key: str) -> None:
        self._store.set(_name(self._sent), key)
        self._sent += 1

    def _run(self, job: CellJob, meeting: Store) -> None:
        def meet(
            count: int, device: str, work: Callable[[Processes], None]
        ) -> contextlib.AbstractContextManager[Processes]:
            return joined(meeting, 0, count, device)  # the other processes have the work already

        try:
            self._events.put(run_cell(job, self._events.put, (), meet))
        except Exception as error:  # counts as lost, like a process that dies
            self._events.put(Event("lost", job.cell, message=f"{type(error).__name__}: {error}"))


def follow_cells(cells: Sequence[Cell], records: Records) -> int:
    """Train the cells that process 0 sends, as any process but number 0, until there are no more.

    :param cells: the cells of the grid, as planned by this process.
    :param records: the results folder.
    :returns: 0, the exit code of the process.
    :raises UsageError: if process 0 is gone, or sends a cell that is not in ``cells``, because this process has other
        options or files.
    """
    store, count = _rendezvous()
    known, number = {cell.key: cell for cell in cells}, 0
    while True:
        with _store_errors():
            store.wait([_name(number)], FOREVER)
            key = store.get(_name(number)).decode()
        if not key:
            return 0
        if key not in known:
            raise UsageError(
                "process 0 of torchrun plans other cells: are data, model and plugins the same everywhere?"
            )
        meeting = PrefixStore(_name(number), store)
        with (
            contextlib.suppress(Exception),  # process 0 notices the failure and records it
            joined(meeting, int(os.environ["RANK"]), count, known[key].recipe.device) as processes,
        ):
            follow(known[key], records, processes)
        number += 1


def _rendezvous() -> tuple[Store, int]:
    """Return torchrun's store and the number of its processes."""
    with _store_errors():
        store, _, count = next(rendezvous("env://"))
    return store, count


@contextlib.contextmanager
def _store_errors() -> Iterator[None]:
    """Translate errors of torchrun's store.

    :raises UsageError: if the store does not answer, because the network fails or process 0 is gone.
    """
    try:
        yield
    except (RuntimeError, ValueError) as error:  # torch's errors of networks and of addresses
        raise UsageError(f"process 0 of torchrun does not answer: {one_line(str(error), 200)}") from None


def _name(number: int) -> str:
    return f"mtlbench cell {number}"
