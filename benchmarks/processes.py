"""One cell over two processes beside one process with two threads: time of a step, and the share of exchanges in it.

Run it on an idle machine with two cores: ``python benchmarks/processes.py --output benchmarks/processes.md``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mtlbench.engine.processes import Processes, spread
from mtlbench.execute.worker import prepare_process
from mtlbench.plan.cells import Workload
from mtlbench.plugins.registry import load_registry
from mtlbench.recipe.suite import load_suite
from mtlbench.training.result import CellResult
from mtlbench.training.train import train

STEPS = 30
ROUNDS = 3
METHODS = ("sum", "pcgrad")
BATCH_SIZES = (8, 32)
SPLITS = ((1, 2), (2, 1))
"""Processes, and threads of each."""


@dataclass(frozen=True)
class Case:
    """What one process group trains."""

    method: str
    batch_size: int
    processes: int
    threads: int


@dataclass
class Exchanges:
    """Seconds that one process spent in exchanges, waiting for the others included, and bytes that it gave."""

    seconds: float = 0.0
    bytes: int = 0

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count the exchanges of tensors while the block runs."""
        original = Processes.add

        def add(processes: Processes, tensor: torch.Tensor) -> None:
            begun = time.perf_counter()
            original(processes, tensor)
            if processes.count > 1:
                self.seconds += time.perf_counter() - begun
                self.bytes += tensor.nbytes

        Processes.add = add  # type: ignore[method-assign,assignment]
        try:
            yield
        finally:
            Processes.add = original  # type: ignore[method-assign]


def measure(case: Case) -> dict[str, float]:
    """Train, and return the median seconds of a step, the share of exchanges in all steps, and megabytes a step."""
    changes: dict[str, Any] = {
        "model": "minilm",
        "steps": STEPS,
        "evaluations": 1,
        "dev_limit": 8,
        "measure_every": 10**6,
        "batch_size": case.batch_size,
        "processes": case.processes,
        "threads": case.threads,
        "engine": "packed",
    }
    registry, exchanges = load_registry(), Exchanges()

    def work(processes: Processes) -> CellResult:
        prepare_process(case.threads)
        workload = Workload.load("quick", load_suite("quick").recipe(changes), registry)
        return train(workload, registry.method(case.method), 0, processes=processes)

    with exchanges.counted(), spread(case.processes, "cpu", work) as processes:
        outcome = work(processes)
    seconds = [row["seconds"] for row in outcome.history if "losses" in row]
    return {
        "seconds": statistics.median(seconds[1:]),
        "share": exchanges.seconds / sum(seconds),
        "megabytes": exchanges.bytes / STEPS / 1e6,
    }


def main() -> None:
    """Measure every case in rounds, each in a process of its own, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--output", type=Path, required=True)
    output = parser.parse_args().output
    cases = [Case(method, size, *split) for method in METHODS for size in BATCH_SIZES for split in SPLITS]
    found: dict[Case, list[dict[str, float]]] = {case: [] for case in cases}
    spawn = multiprocessing.get_context("spawn")
    for _ in range(ROUNDS):
        for case in cases:
            with ProcessPoolExecutor(1, mp_context=spawn) as pool:
                found[case].append(pool.submit(measure, case).result())
    output.write_text(page(found), encoding="utf-8")


def page(found: dict[Case, list[dict[str, float]]]) -> str:
    """Lay out the medians over rounds."""
    lines = [
        "# A cell over two processes",
        "",
        f"MiniLM (6 layers), three embedded tasks, {STEPS} steps, medians of {ROUNDS} rounds; the same rows.",
        "Exchanges go through gloo on one machine; their share holds the time that process 0 waits for the other.",
        "Made by `benchmarks/processes.py`.",
        "",
        "| method | rows a task | processes × threads | s/step | share of exchanges | MB exchanged a step |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for case, rounds in found.items():
        medians = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
        lines.append(
            f"| {case.method} | {case.batch_size} | {case.processes} × {case.threads} | {medians['seconds']:.3f} "
            f"| {medians['share']:.0%} | {medians['megabytes']:.0f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
