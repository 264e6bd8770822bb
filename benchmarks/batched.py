"""Batched methods beside single calls: time a matrix, on one thread.

    OMP_NUM_THREADS=1 python -m benchmarks.batched --write

It takes less than a minute, on an idle machine, and writes ``benchmarks/batched.md``.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtlbench.batched import batched
from mtlbench.contract.method import Method
from mtlbench.engine.library import get_method, weights
from mtlbench.host.provenance import environment

PAGE = Path(__file__).with_suffix(".md")
Array = NDArray[np.float64]
TASKS = (2, 3, 4, 8)
PROBLEMS = 1000
SINGLES = 30
"""Single calls in one turn."""
METHODS = (
    *("sum", "fixed", "si", "uw", "gradnorm", "famo", "dwa", "rlw", "pcgrad", "gradvac", "mgda", "cagrad", "nash-mtl"),
    *("fairgrad", "imtl-g", "aligned-mtl", "config", "upgrad", "dualproj"),
)
COUNTS = (1, 10, 100, 1000, 10_000)
"""Numbers of problems in the second table, at K = 2."""
COUNTED = ("uw", "pcgrad", "mgda", "cagrad", "nash-mtl")


@dataclass
class Problems:
    """Losses and inner products of B problems: normal gradients of 20 parameters, every second set in conflict.

    :param losses: (B, K) losses.
    :param gram: (B, K, K) inner products.
    """

    losses: Array
    gram: Array

    @classmethod
    def drawn(cls, tasks: int, count: int) -> Problems:
        """Draw problems.

        :param tasks: K.
        :param count: B.
        """
        draw = np.random.default_rng([tasks, count])
        rows = draw.normal(size=(count, tasks, 20))
        rows[::2] -= 1.2 * rows[::2].mean(axis=1, keepdims=True)
        return cls(draw.uniform(0.1, 3.0, (count, tasks)), rows @ rows.transpose(0, 2, 1))


def seconds(turn: Callable[[], None], turns: int = 5) -> float:
    """Return the median time of a turn, after one to warm up."""
    turn()
    taken = []
    for _ in range(turns):
        begun = time.perf_counter()
        turn()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


def batched_time(method: Method, problems: Problems) -> float:
    """Return the microseconds a problem of one step of all problems at once."""
    form = batched(method, range(len(problems.losses)))
    gram = problems.gram if method.reads == "gram" else None

    def step() -> None:
        form.weights(problems.losses, gram)
        if method.reads_after:
            form.after_step(problems.losses)

    return 1e6 * seconds(step) / len(problems.losses)


def single_time(method: Method, problems: Problems) -> float:
    """Return the microseconds of one call of ``mtlbench.weights`` with one object."""
    grams: Sequence[Array | None] = list(problems.gram) if method.reads == "gram" else [None] * len(problems.losses)
    count = min(SINGLES, len(problems.losses))

    def calls() -> None:
        for problem in range(count):
            weights(method, grams[problem], losses=problems.losses[problem])
            if method.reads_after:
                method.after_step(problems.losses[problem])

    return 1e6 * seconds(calls) / count


def page() -> str:
    """Measure, and return the page in Markdown."""
    machine = environment()["machine"]
    lines = [
        "# Batched methods beside single calls",
        "",
        f"`make bench-batched`: microseconds a matrix, one thread, double precision. Batched: {PROBLEMS} problems in",
        "one step, checks of the input included. Single: one call of `mtlbench.weights` with one object. Half of the",
        "problems have conflicts. Medians of 5 turns; × is single over batched.",
        "",
        f"{machine['system']} {machine['architecture']}, {machine['processor']}, NumPy {np.__version__}.",
        "",
        "| method | " + " | ".join(f"K = {tasks} | single | ×" for tasks in TASKS) + " |",
        "| --- |" + " ---: | ---: | ---: |" * len(TASKS),
    ]
    drawn = {tasks: Problems.drawn(tasks, PROBLEMS) for tasks in TASKS}
    for name in METHODS:
        cells = []
        for tasks in TASKS:
            one, all_at_once = single_time(get_method(name), drawn[tasks]), batched_time(get_method(name), drawn[tasks])
            cells.append(f"{all_at_once:.2f} | {one:.0f} | {one / all_at_once:.0f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += [
        "",
        "Microseconds a matrix at K = 2 by the number of problems, which share the time that a NumPy operation takes",
        "whatever its size.",
        "",
        "| method | " + " | ".join(f"B = {count}" for count in COUNTS) + " |",
        "| --- |" + " ---: |" * len(COUNTS),
    ]
    sets = [Problems.drawn(2, count) for count in COUNTS]
    for name in COUNTED:
        times = [f"{batched_time(get_method(name), problems):.2f}" for problems in sets]
        lines.append(f"| {name} | {' | '.join(times)} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the page or write it."""
    parser = argparse.ArgumentParser(description="Time batched methods beside single calls.")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    options = parser.parse_args(arguments)
    text = page()
    print(text)
    if options.write:
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
