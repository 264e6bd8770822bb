"""Run cells on this machine, each in its own process; a fork server imports torch once for all of them."""

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
from mtlbench.host.processes import uninterrupted, without_script

BETWEEN_STEPS = 0.05
"""Least seconds between two events that tell of a step: each costs the cell and the launcher some time."""
Slot = str | None
"""Place for one cell: the CUDA_VISIBLE_DEVICES of its process, or None for that of this process."""


@dataclass
class _Running:
    job: CellJob
    slot: Slot
    process: ForkServerProcess


class Local:
    """Executor that runs cells in processes of this machine.

    :param slots: one for each cell that may run at the same time, see :func:`device_slots`.
    :param modules: names of modules that the cells import, besides those of every cell.
    """

    def __init__(self, slots: Sequence[Slot], modules: Sequence[str] = ()) -> None:
        self.capacity = len(slots)
        self._free = deque(slots)
        self._running: dict[Connection, _Running] = {}
        self._started: list[Event] = []
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["mtlbench.execute.worker", *modules])
        start_fork_server()

    def submit(self, jobs: Sequence[CellJob]) -> None:
        """Start jobs.

        :param jobs: no more than there are free slots.
        """
        for job in jobs:
            slot = self._free.popleft()
            receiver, sender = self._context.Pipe(duplex=False)
            process = self._context.Process(target=_enter, args=(job, slot, sender), name=job.cell.title, daemon=True)
            with without_script(), uninterrupted():
                process.start()
                sender.close()
                self._running[receiver] = _Running(job, slot, process)
            self._started.append(Event("started", job.cell))

    def wait(self, seconds: float) -> Sequence[Event]:
        """Return the next events as soon as there are any.

        :param seconds: time after which to return without events.
        """
        events, self._started = self._started, []
        for connection in wait(list(self._running), 0.0 if events else seconds):
            assert isinstance(connection, Connection)
            events.append(self._receive(connection))
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
        """End all processes.

        :param grace: seconds between SIGTERM and SIGKILL.
        """
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
    """Start the fork server with Ctrl-C blocked, even while it imports torch: this process handles Ctrl-C."""
    resource_tracker.ensure_running()  # first: otherwise the server starts it, which unblocks the signal
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def died(job: CellJob, code: int) -> Event:
    """Return the event for a process that ended without reporting: native code crashed, or the process was killed.

    SIGKILL comes from an operator or from a system short of memory; the two look the same, so the cell gets one retry.

    :param job: the job of the process.
    :param code: exit code of the process; for a signal, its negated number.
    """
    if code >= 0:
        return Event("lost", job.cell, message=f"its process ended with exit code {code}")
    killed = code == -signal.SIGKILL
    cause = f"signal {signal.Signals(-code).name}" + (" (out of memory?)" if killed else "")
    message = f"its process ended with {cause}"
    return Event("lost", job.cell, message=message, retries=1 if killed else RETRIES)


def device_slots(devices: Sequence[str], cells: int) -> list[Slot]:
    """Return the slots of several GPUs.

    :param devices: such as ``cuda:0``. The numbers count the GPUs visible to this process; CUDA_VISIBLE_DEVICES counts
        those of the machine, so if it is set, each slot is one of its entries.
    :param cells: number of cells per GPU.
    """
    inherited = os.environ.get("CUDA_VISIBLE_DEVICES")
    slots: list[Slot] = []
    for device in devices:
        number = int(device.partition(":")[2] or 0)
        slots.append(str(number) if inherited is None else inherited.split(",")[number].strip())
    return slots * cells


def _enter(job: CellJob, slot: Slot, connection: Connection) -> None:
    """Run a cell: the entry point of its process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    if slot is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = slot  # before CUDA initializes, which reads it only then
    from mtlbench.execute.worker import run_cell

    told = float("-inf")

    def send(event: Event) -> None:
        nonlocal told
        if event.kind == "step" and event.done < event.total:  # steps may be faster than a progress bar
            if time.monotonic() - told < BETWEEN_STEPS:
                return
            told = time.monotonic()
        try:
            connection.send(event)
        except BrokenPipeError:  # the launcher is gone: stop
            signal.raise_signal(signal.SIGTERM)

    send(run_cell(job, send))
