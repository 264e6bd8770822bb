"""The loop of a launcher: claim cells, submit them, handle their events, retry lost ones."""

from __future__ import annotations

import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mtlbench.contract.entries import ErrorEntry
from mtlbench.execute.executor import CellJob, Event, Executor
from mtlbench.execute.heartbeat import Heartbeat
from mtlbench.plan.cells import Cell
from mtlbench.records.header import now
from mtlbench.records.leases import Leases
from mtlbench.records.record import Record
from mtlbench.records.record_file import read_record
from mtlbench.records.store import NotRecorded, Store
from mtlbench.records.store_cache import FileStamp

GRACE = 20.0
"""Seconds after Ctrl-C in which workers finish their step, write a checkpoint and exit. The largest one measured, 2.5
GB of BERT-base and a method that keeps K × P numbers, took 12 seconds (benchmarks/checkpoints.md)."""
TICK = 1.0
"""Maximum seconds that the loop waits for an event."""
POLL = 5.0
"""Seconds between two checks of a cell that another launcher runs."""
ENDS = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""Signals that end a launcher besides Ctrl-C: from an operator, from closing the terminal, from Ctrl-\\."""

Listener = Callable[[Event], None]


class Scheduler:
    """Loop that runs every cell of a grid, unless another launcher on the same results folder runs it.

    :param headers: returns the header of a cell's record.
    :param store: the results folder.
    :param executor: runs the cells.
    :param listener: called with every event.
    :param before: the records that existed when the grid was planned, see :meth:`Store.state`. A record that differs
        from these was written by another launcher: its cell has ended.
    :param fail_fast: whether to start no more cells after the first failure.
    :param leases: the leases of the results folder; by default, with the usual patience.
    """

    def __init__(
        self,
        headers: Callable[[Cell], Record],
        store: Store,
        executor: Executor,
        listener: Listener,
        *,
        before: Mapping[Path, FileStamp],
        fail_fast: bool = False,
        leases: Leases | None = None,
    ) -> None:
        self._headers, self._store, self._executor, self._listener = headers, store, executor, listener
        self._before, self._fail_fast = before, fail_fast
        self._leases = leases or Leases(store.folder)
        self._heartbeat = Heartbeat()
        self._waiting: deque[tuple[float, Cell]] = deque()
        self._running: dict[str, CellJob] = {}
        self._succeeded = True

    def run(self, cells: Sequence[Cell]) -> bool:
        """Run cells.

        :param cells: the cells, in the order of their start.
        :returns: whether none failed.
        :raises KeyboardInterrupt: after Ctrl-C or another signal that ends a process, once all workers have exited.
        """
        self._waiting.extend((0.0, cell) for cell in cells)
        with _signals_as_ctrl_c(), self._heartbeat, self._executor_stopped():
            reported = False
            while self._waiting or self._running:
                self._fill()
                if self._running:
                    reported = False
                elif self._waiting and not reported:
                    self._listener(Event("waiting", self._waiting[0][1], total=len(self._waiting)))
                    reported = True
                for event in self._executor.wait(TICK):
                    self._handle(event)
        return self._succeeded

    def _fill(self) -> None:
        """Claim and submit cells until the executor is full or other launchers have the rest."""
        jobs: list[CellJob] = []
        room = self._executor.capacity - len(self._running)
        while len(jobs) < room and self._waiting and self._waiting[0][0] <= time.monotonic():
            _, cell = self._waiting.popleft()
            job = self._claim(cell)
            if job is not None:
                jobs.append(job)
                self._running[cell.key] = job
        if jobs:
            self._executor.submit(jobs)

    def _claim(self, cell: Cell) -> CellJob | None:
        """Return the first attempt at a cell, or ``None`` if another launcher runs the cell or has ended it."""
        record: Record = {**self._headers(cell), "started": now()}
        try:
            lease = self._leases.claim(cell.key, cell.title)
        except OSError as error:
            message = f"not started: its lease cannot be written to {self._store.folder}: {error.strerror}"
            self._end(Event("failed", cell, message=message))
            return None
        ended = self._ended_elsewhere(cell, record)
        if ended is not None:
            if lease is not None:
                lease.release()
            self._end(ended)
            return None
        if lease is None:
            self._waiting.append((time.monotonic() + POLL, cell))
            return None
        self._heartbeat.add(lease)
        return CellJob(cell, record, self._store, lease)

    def _ended_elsewhere(self, cell: Cell, record: Record) -> Event | None:
        path = self._store.path_of(record)
        try:
            if FileStamp.of(path) == self._before.get(path):
                return None
            other = read_record(path)
        except (OSError, ValueError):  # missing or damaged
            return None
        return Event(other["status"], cell, message=other["error"]["message"] if other["error"] else "")

    def _handle(self, event: Event) -> None:
        cell = event.cell
        for note in event.notes:
            self._listener(Event("note", cell, message=note))
        if event.kind in ("started", "step", "note"):
            self._listener(event)
            return
        job = self._running.pop(cell.key)
        if event.kind == "lost" and (ended := self._ended_elsewhere(cell, job.record)) is not None:
            job.lease.release()  # its process died between writing the record and reporting
            event = ended
        if event.kind == "lost" and job.record["tries"] <= event.retries:
            self._retry(job, event)
            return
        self._heartbeat.remove(job.lease)
        if event.kind == "taken":
            self._waiting.append((time.monotonic() + POLL, cell))
            return
        self._end(self._record_loss(job, event) if event.kind == "lost" else event)

    def _retry(self, job: CellJob, event: Event) -> None:
        """Submit a lost cell again, with the same lease."""
        tries = job.record["tries"] + 1
        self._listener(Event("again", job.cell, done=tries, message=event.message))
        retry = CellJob(job.cell, {**job.record, "tries": tries}, job.store, job.lease)
        self._running[job.cell.key] = retry
        self._executor.submit([retry])

    def _record_loss(self, job: CellJob, event: Event) -> Event:
        """Write the record of a lost cell, in place of its worker, and return the event of its failure."""
        tries = job.record["tries"]
        message = event.message + (f", {tries} tries" if tries > 1 else "")
        error: ErrorEntry = {"type": "ProcessDied", "message": message, "step": None, "task": None}
        try:
            self._store.save({**job.record, "error": error}, {})
        except NotRecorded as reason:
            message += f"; not recorded: {reason}"
        job.lease.release()
        return Event("failed", job.cell, message=message)

    def _end(self, event: Event) -> None:
        if event.kind == "failed":
            self._succeeded = False
            if self._fail_fast:
                self._waiting.clear()
        self._listener(event)

    @contextmanager
    def _executor_stopped(self) -> Iterator[None]:
        """Stop the executor when the block ends. A second Ctrl-C kills the running cells at once."""
        try:
            yield
        except KeyboardInterrupt:
            for job in list(self._running.values())[:1]:
                self._listener(Event("stopping", job.cell, total=len(self._running)))
            raise
        finally:
            try:
                self._executor.stop(GRACE)
            except KeyboardInterrupt:
                self._executor.stop(0.0)
                raise
            finally:
                for job in self._running.values():
                    job.lease.release()


@contextmanager
def _signals_as_ctrl_c() -> Iterator[None]:
    """Treat the other signals that end a process like Ctrl-C, so that the run leaves no processes or leases behind.

    Ignored signals stay ignored, such as SIGHUP under ``nohup``. Only the main thread receives signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    handlers = {number: signal.getsignal(number) for number in ENDS}
    for number, handler in handlers.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
