"""How much a launcher takes: 10,000 cells on 1,000 workers that sleep, with the real loop, leases and records.

    python benchmarks/launcher.py            # prints the table; --write puts it into benchmarks/launcher.md
    python benchmarks/launcher.py --ray      # also a small real grid on Ray and on the local executor

The workers are entries of a timer wheel and threads in the launcher's own process, so it pays for their records, too,
which real workers write themselves: what is measured is an upper bound of the launcher's work. Each cell sleeps
for 5 to 15 s.
"""

from __future__ import annotations

import argparse
import heapq
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from mtlbench.execute.executor import CellJob, Event
from mtlbench.execute.scheduler import Scheduler
from mtlbench.host.provenance import environment
from mtlbench.plan.cells import Cell, Workload, make_cells
from mtlbench.plugins.registry import load_registry
from mtlbench.recipe.suite import load_suite
from mtlbench.records.header import header
from mtlbench.records.leases import holders
from mtlbench.records.record import Record
from mtlbench.records.store import Store
from mtlbench.seeds import generator

PAGE = Path(__file__).with_suffix(".md")
CELLS, WORKERS, METHODS = 10_000, 1_000, 20
WRITERS = 64
"""Threads that write the workers' records, so that the disk's delay is that of many writers, as it would be."""
SECONDS = (5.0, 15.0)


class Sleepers:
    """An executor whose workers sleep, then write a record and release the lease as real ones do, in some threads.

    :param capacity: how many workers there are.
    """

    def __init__(self, capacity: int, seconds: Callable[[], float]) -> None:
        self.capacity, self._seconds = capacity, seconds
        self.spent, self.most = 0.0, 0
        """CPU seconds that went into records and leases on the workers' behalf; workers that slept at one time."""
        self._asleep: list[tuple[float, int, CellJob]] = []
        self._numbers = count()
        self._ended: SimpleQueue[tuple[Event, float]] = SimpleQueue()
        self._pool = ThreadPoolExecutor(WRITERS)

    def submit(self, jobs: Sequence[CellJob]) -> None:
        for job in jobs:
            heapq.heappush(self._asleep, (time.monotonic() + self._seconds(), next(self._numbers), job))
        self.most = max(self.most, len(self._asleep))

    def wait(self, seconds: float) -> Sequence[Event]:
        now = time.monotonic()
        while self._asleep and self._asleep[0][0] <= now:
            self._pool.submit(self._end, heapq.heappop(self._asleep)[2])
        events: list[Event] = []
        try:
            event, spent = self._ended.get(timeout=min(seconds, 0.01))
        except Empty:
            return events
        while True:
            self.spent += spent
            events.append(event)
            if self._ended.empty():
                return events
            event, spent = self._ended.get()

    def _end(self, job: CellJob) -> None:
        begun = time.thread_time()
        job.lease.enter()
        job.store.save({**job.record, "status": "done"}, {})
        job.lease.release()
        self._ended.put((Event("done", job.cell), time.thread_time() - begun))

    def stop(self, grace: float) -> None:
        self._pool.shutdown()


def grid(wanted: int) -> tuple[list[Cell], Callable[[Cell], Record]]:
    """Return cells of 20 methods on the quick suite, and what makes the headers of their records: all as a run does."""
    registry = load_registry()
    workload = Workload.load("quick", load_suite("quick").recipe({}), registry)
    where = environment()
    methods = [registry.method(name) for name in sorted(registry.methods)[:METHODS]]
    cells = make_cells(workload, methods, range(-(-wanted // METHODS)))[:wanted]
    return cells, lambda cell: header(cell, workload, registry, where)


def simulate(folder: Path, wanted: int, workers: int, seconds: tuple[float, float]) -> dict[str, Any]:
    """Run the loop over cells that sleep; return what it took."""
    random = generator("launcher benchmark")
    store, executor = Store(folder), Sleepers(workers, lambda: float(random.uniform(*seconds)))
    store.prepare()
    told: Counter[str] = Counter()
    cells, headers = grid(wanted)
    loop = Scheduler(headers, store, executor, lambda event: told.update([event.kind]), before={})
    begun, spent = time.perf_counter(), time.process_time()
    well = loop.run(cells)
    elapsed, spent = time.perf_counter() - begun, time.process_time() - spent
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # before the check reads all records
    found = store.scan()
    assert well and told["done"] == wanted and not holders(folder), told
    assert len(found.records) == wanted, found.damaged[:1]
    return {
        "cells": wanted,
        "workers": executor.most,
        "seconds": elapsed,
        "ideal": wanted * sum(seconds) / 2.0 / workers,
        "cpu": spent,
        "workers_cpu": executor.spent,
        "memory": memory,
    }


def row(found: dict[str, Any]) -> str:
    return (
        f"| {found['cells']:,} | {found['workers']:,} | {found['seconds']:.1f} s | {found['ideal']:.1f} s "
        f"| {found['cells'] / found['seconds']:.0f} | {1e3 * found['cpu'] / found['cells']:.2f} ms "
        f"| {1e3 * found['workers_cpu'] / found['cells']:.2f} ms | {found['memory'] / 2**20:.0f} MiB |"
    )


def compare_with_ray(folder: Path) -> str:
    """Run a small real grid on both executors, in processes of their own; return what it took."""
    lines = ["| executor | 8 cells of the quick suite, 20 steps |", "| --- | --- |"]
    for executor in ("local", "ray"):
        given = ["--methods", "sum,pcgrad", "--seeds", "4", "--steps", "20", "--executor", executor]
        command = [sys.executable, "-m", "mtlbench", "run", *given, "--results", str(folder / executor)]
        begun = time.perf_counter()
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        lines.append(f"| {executor} | {time.perf_counter() - begun:.0f} s |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--ray", action="store_true")
    parser.add_argument("--cells", type=int, default=CELLS)
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--seconds", type=float, nargs=2, default=SECONDS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        found = simulate(Path(name) / "simulated", options.cells, options.workers, tuple(options.seconds))
        compared = compare_with_ray(Path(name)) if options.ray else ""
    load = os.getloadavg()[2]
    text = (
        "# The launcher with many cells\n\n"
        "`python benchmarks/launcher.py --write`: the real loop, leases and records; workers that sleep, simulated in\n"
        "the launcher's own process. \"Ideal\" is the workers' sleep divided among them; the CPU time of a cell is\n"
        "the launcher's, of which the next column is what real workers would pay themselves.\n\n"
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, load {load:.1f} over 15 minutes; "
        f"{found['workers']:,} workers asleep at most.\n\n"
        "| cells | workers | took | ideal | cells a second | CPU a cell | of it the workers' | peak memory |\n"
        "| --- | --- | --- | --- | --- | --- | --- | --- |\n" + row(found) + "\n"
    )
    text += f"\n{compared}" if compared else ""
    print(text)
    if options.write:
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
