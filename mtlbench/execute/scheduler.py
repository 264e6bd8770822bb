"""The loop of a launcher: claim a cell, submit it, hear what became of it, try again what deserves it."""

from __future__ import annotations

import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mtlbench.execute.executor import CellJob, Event, Executor
from mtlbench.execute.heartbeat import Heartbeat
from mtlbench.plan.cells import Cell
from mtlbench.records.entries import ErrorEntry
from mtlbench.records.header import now
from mtlbench.records.leases import Leases
from mtlbench.records.record import Record
from mtlbench.records.record_file import read_record
from mtlbench.records.store import NotRecorded, Store
from mtlbench.records.store_cache import FileStamp

GRACE = 20.0
"""Seconds that workers have after Ctrl-C to finish their step, write a checkpoint and leave: the largest one that was
measured, 2.5 GB of BERT-base and a method that keeps K × P numbers, took 12 (benchmarks/checkpoints.md)."""
TICK = 1.0
"""Seconds that the loop waits for an event at most."""
POLL = 5.0
"""Seconds between two looks at a cell that another launcher runs."""
ENDS = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""Signals that end a launcher: of an operator, of a terminal that is closed, of Ctrl-\\."""

Listener = Callable[[Event], None]


class Scheduler:
    """Brings every cell of a grid to its end, here or by another launcher on the same results folder.

    :param headers: makes the header of a cell's record.
    :param before: the records that were there when the grid was planned, see :meth:`Store.state`: another one that is
        found later was written by another launcher, and its cell has ended.
    :param fail_fast: start no more cells after the first failure.
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
        self._well = True

    def run(self, cells: Sequence[Cell]) -> bool:
        """Run cells and return whether all ended well.

        :raises KeyboardInterrupt: after Ctrl-C or another signal that ends a process, when all workers have left.
        """
        self._waiting.extend((0.0, cell) for cell in cells)
        with _ends_as_by_ctrl_c(), self._heartbeat, self._stopped_at_the_end():
            told = False
            while self._waiting or self._running:
                self._fill()
                if self._running:
                    told = False
                elif self._waiting and not told:
                    self._listener(Event("waiting", self._waiting[0][1], total=len(self._waiting)))
                    told = True
                for event in self._executor.wait(TICK):
                    self._hear(event)
        return self._well

    def _fill(self) -> None:
        """Claim and submit cells until the executor is full, or the others are with other launchers."""
        jobs: list[CellJob] = []
        room = self._executor.capacity - len(self._running)
        while len(jobs) < room and self._waiting and self._waiting[0][0] <= time.monotonic():
            _, cell = self._waiting.popleft()
            job = self._claimed(cell)
            if job is not None:
                jobs.append(job)
                self._running[cell.key] = job
        if jobs:
            self._executor.submit(jobs)

    def _claimed(self, cell: Cell) -> CellJob | None:
        """Return the first try at a cell; or nothing when another launcher has it, or had it and ended it."""
        record: Record = {**self._headers(cell), "started": now()}
        try:
            lease = self._leases.claim(cell.key, cell.title)
        except OSError as error:
            why = f"not started: its lease cannot be written to {self._store.folder}: {error.strerror}"
            self._end(Event("failed", cell, message=why))
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
            found = read_record(path)
        except (OSError, ValueError):  # none, or one that is no use
            return None
        return Event(found["status"], cell, message=found["error"]["message"] if found["error"] else "")

    def _hear(self, event: Event) -> None:
        cell = event.cell
        for note in event.notes:
            self._listener(Event("note", cell, message=note))
        if event.kind in ("started", "step", "note"):
            self._listener(event)
            return
        job = self._running.pop(cell.key)
        if event.kind == "lost" and (ended := self._ended_elsewhere(cell, job.record)) is not None:
            job.lease.release()  # its process died after the record was written and before it could say so
            event = ended
        if event.kind == "lost" and job.record["tries"] <= event.retries:
            self._again(job, event)
            return
        self._heartbeat.remove(job.lease)
        if event.kind == "taken":
            self._waiting.append((time.monotonic() + POLL, cell))
            return
        self._end(self._recorded(job, event) if event.kind == "lost" else event)

    def _again(self, job: CellJob, event: Event) -> None:
        """Try a lost cell once more, on the same lease."""
        tries = job.record["tries"] + 1
        self._listener(Event("again", job.cell, done=tries, message=event.message))
        again = CellJob(job.cell, {**job.record, "tries": tries}, job.store, job.lease)
        self._running[job.cell.key] = again
        self._executor.submit([again])

    def _recorded(self, job: CellJob, event: Event) -> Event:
        """Write the record of a cell whose worker could not."""
        tries = job.record["tries"]
        message = event.message + (f", {tries} tries" if tries > 1 else "")
        error: ErrorEntry = {"type": "ProcessDied", "message": message, "step": None, "task": None}
        try:
            self._store.save({**job.record, "error": error}, {})
        except NotRecorded as lost:
            message += f"; not recorded: {lost}"
        job.lease.release()
        return Event("failed", job.cell, message=message)

    def _end(self, event: Event) -> None:
        if event.kind == "failed":
            self._well = False
            if self._fail_fast:
                self._waiting.clear()
        self._listener(event)

    @contextmanager
    def _stopped_at_the_end(self) -> Iterator[None]:
        """Stop what still runs when the block is left by Ctrl-C or an error; a second Ctrl-C kills it at once."""
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
def _ends_as_by_ctrl_c() -> Iterator[None]:
    """Have the other signals that end a process do what Ctrl-C does: nothing of the run is left behind.

    One that is ignored stays so, as the end of a terminal by ``nohup``. Only the main thread hears signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in ENDS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
