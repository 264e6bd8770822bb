"""Runs cells on this machine, each in a process of its own; a fork server imports torch once for all of them."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess

from mtlbench.plan import Cell
from mtlbench.record import Record, now
from mtlbench.store import NotRecorded, Store


@dataclass(frozen=True)
class Event:
    """Something happened to a cell.

    :param kind: ``"started"``, ``"step"``, ``"done"`` or ``"failed"``.
    :param done: steps done, of ``total``.
    :param message: why it failed.
    """

    kind: str
    cell: Cell
    done: int = 0
    total: int = 0
    message: str = ""


@dataclass
class _Running:
    cell: Cell
    record: Record
    process: ForkServerProcess
    begun: float


def run_cells(
    cells: Sequence[Cell],
    headers: Callable[[Cell], Record],
    store: Store,
    *,
    jobs: int,
    fail_fast: bool,
    listener: Callable[[Event], None],
) -> bool:
    """Run cells, ``jobs`` at a time, and return whether all ended well.

    A process that dies without a word (killed, out of memory, a crash in native code) costs its own cell only: its
    failure is recorded from here.

    :param headers: makes the header of a cell's record.
    :param fail_fast: start no more cells after the first failure.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mtlbench.execute.worker"])
    start_fork_server()
    waiting, running, all_well = deque(cells), dict[Connection, _Running](), True
    with _stopped_at_the_end(running):
        while waiting or running:
            while waiting and len(running) < jobs:
                connection, started = _start(context, waiting.popleft(), headers, store)
                running[connection] = started
                listener(Event("started", started.cell))
            for ready in wait(list(running)):
                assert isinstance(ready, Connection)
                event = _receive(ready, running[ready], store)
                if event.kind != "step":
                    running.pop(ready).process.join()
                    ready.close()
                    if event.kind == "failed":
                        all_well = False
                        if fail_fast:
                            waiting.clear()
                listener(event)
    return all_well


def start_fork_server() -> None:
    """Start the fork server deaf to Ctrl-C, which is for this process to handle, even while it imports torch."""
    resource_tracker.ensure_running()  # first: it would be started with the server, and unblock the signal
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _start(
    context: multiprocessing.context.ForkServerContext, cell: Cell, headers: Callable[[Cell], Record], store: Store
) -> tuple[Connection, _Running]:
    record = {**headers(cell), "started": now()}
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_enter, args=(cell, record, store, theirs), name=cell.title, daemon=True)
    process.start()
    theirs.close()
    return ours, _Running(cell, record, process, time.perf_counter())


def _enter(cell: Cell, record: Record, store: Store, connection: Connection) -> None:
    from mtlbench.execute.worker import run_cell

    run_cell(cell, record, store, connection)


def _receive(connection: Connection, running: _Running, store: Store) -> Event:
    try:
        kind, *details = connection.recv()
    except EOFError:
        return _died(running, store)
    if kind == "step":
        return Event("step", running.cell, *details)
    status, message = details
    return Event(status, running.cell, message=message)


def _died(running: _Running, store: Store) -> Event:
    """Record the death of a cell's process."""
    running.process.join()
    code = running.process.exitcode or 0
    cause = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    message = f"its process ended with {cause}" + (" (out of memory?)" if code == -signal.SIGKILL else "")
    error = {"type": "ProcessDied", "message": message, "step": None, "task": None}
    try:
        store.save({**running.record, "error": error, "seconds": round(time.perf_counter() - running.begun, 3)}, {})
    except NotRecorded as lost:
        message += f"; not recorded: {lost}"
    return Event("failed", running.cell, message=message)


@contextmanager
def _stopped_at_the_end(running: dict[Connection, _Running]) -> Iterator[None]:
    """Terminate what still runs when the block is left, by Ctrl-C or an error."""
    try:
        yield
    finally:
        for started in running.values():
            started.process.terminate()
        for started in running.values():
            started.process.join()
