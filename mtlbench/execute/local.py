"""Runs cells on this machine, each in a process of its own; a fork server imports torch once for all of them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess

from mtlbench.execute.executor import RETRIES, CellJob, Event

Slot = str | None
"""Room for one cell: the CUDA_VISIBLE_DEVICES that its process gets; None: what this process has."""


@dataclass
class _Running:
    job: CellJob
    slot: Slot
    process: ForkServerProcess


class Local:
    """Processes on this machine.

    :param slots: one for each cell that may run at a time, see :func:`device_slots`.
    """

    def __init__(self, slots: Sequence[Slot]) -> None:
        self.capacity = len(slots)
        self._free = deque(slots)
        self._running: dict[Connection, _Running] = {}
        self._new: list[Event] = []
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["mtlbench.execute.worker"])
        start_fork_server()

    def submit(self, jobs: Sequence[CellJob]) -> None:
        for job in jobs:
            slot = self._free.popleft()
            ours, theirs = self._context.Pipe(duplex=False)
            process = self._context.Process(target=_enter, args=(job, slot, theirs), name=job.cell.title, daemon=True)
            process.start()
            theirs.close()
            self._running[ours] = _Running(job, slot, process)
            self._new.append(Event("started", job.cell))

    def wait(self, seconds: float) -> Sequence[Event]:
        events, self._new = self._new, []
        for ready in wait(list(self._running), 0.0 if events else seconds):
            assert isinstance(ready, Connection)
            events.append(self._receive(ready))
        return events

    def _receive(self, connection: Connection) -> Event:
        running = self._running[connection]
        try:
            event: Event = connection.recv()
        except EOFError:
            running.process.join()
            event = died(running.job, running.process.exitcode or 0)
        if event.kind not in ("step", "note"):
            del self._running[connection]
            connection.close()
            running.process.join()
            self._free.append(running.slot)
        return event

    def stop(self, grace: float) -> None:
        for running in self._running.values():
            running.process.terminate()
        end = time.monotonic() + grace
        for running in self._running.values():
            running.process.join(max(0.0, end - time.monotonic()))
        for running in self._running.values():
            running.process.kill()
            running.process.join()
        self._running.clear()


def start_fork_server() -> None:
    """Start the fork server deaf to Ctrl-C, which is for this process to handle, even while it imports torch."""
    resource_tracker.ensure_running()  # first: it would be started with the server, and unblock the signal
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def died(job: CellJob, code: int) -> Event:
    """Return the event of a process that ended without a word: a crash of native code, or it was killed.

    SIGKILL comes from an operator or from a system short of memory, and nobody can tell which: one more try.
    """
    if code >= 0:
        return Event("lost", job.cell, message=f"its process ended with exit code {code}")
    out_of_memory = code == -signal.SIGKILL
    cause = f"signal {signal.Signals(-code).name}" + (" (out of memory?)" if out_of_memory else "")
    message = f"its process ended with {cause}"
    return Event("lost", job.cell, message=message, retries=1 if out_of_memory else RETRIES)


def device_slots(devices: Sequence[str], cells: int) -> list[Slot]:
    """Return the slots of some GPUs, each for a number of cells.

    :param devices: such as ``cuda:0``. Numbers count the GPUs that this process sees, CUDA_VISIBLE_DEVICES those of
        the machine: where it is set, a slot is one of its entries.
    """
    inherited = os.environ.get("CUDA_VISIBLE_DEVICES")
    slots: list[Slot] = []
    for device in devices:
        number = int(device.partition(":")[2] or 0)
        slots.append(str(number) if inherited is None else inherited.split(",")[number].strip())
    return slots * cells


def _enter(job: CellJob, slot: Slot, connection: Connection) -> None:
    """Entry point of a cell's process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    if slot is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = slot  # before CUDA starts, which reads it once
    from mtlbench.execute.worker import run_cell

    def tell(event: Event) -> None:
        try:
            connection.send(event)
        except BrokenPipeError:  # the launcher is gone, and with it the reason to go on
            signal.raise_signal(signal.SIGTERM)

    tell(run_cell(job, tell))
