"""Every method on 100,000 random matrices: finite, or refused with a SolverError; optimality conditions at worst.

    python benchmarks/fuzz.py [--matrices 100000] [--jobs 2] [--output benchmarks/fuzz.md] [METHOD ...]

A tenth of the matrices is of each family of mtlbench.check.families, a tenth is of a family, a rank and norms drawn at
random; all are multiplied by 10^U(−10, 15). K is 1 to 10, P is 1 to 24. The seed is fixed: the table can be made again.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from mtlbench.check.families import ALL
from mtlbench.check.subject import Instance, show, step, weigh
from mtlbench.contract.method import Method
from mtlbench.errors import SolverError
from mtlbench.plugins.registry import load_registry

OPTIMAL = 1e-6
"""Residual above which a solution counts as unchecked non-convergence."""
RESTART = 50
"""Steps after which a method starts afresh, so that methods with state are met early and late."""


@dataclass
class Tally:
    """What one method did."""

    method: str
    calls: int = 0
    refused: int = 0
    failures: list[str] = field(default_factory=list)
    worst: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0


def instances(matrices: int) -> Iterator[tuple[str, Instance]]:
    """Draw the matrices, each with the name of its family."""
    draw = np.random.default_rng(20240)
    for number in range(matrices):
        tasks, size = int(draw.integers(1, 11)), int(draw.integers(1, 25))
        place = number % (len(ALL) + 1)
        family = ALL[place] if place < len(ALL) else ALL[int(draw.integers(len(ALL)))]
        rows = family(draw, tasks, size)
        if place == len(ALL):
            rows = rows * 10.0 ** draw.uniform(-4.0, 4.0, (tasks, 1)) @ np.diag(10.0 ** draw.uniform(-3.0, 0.0, size))
        rows = rows * 10.0 ** draw.uniform(-10.0, 15.0)
        yield (family.__name__ if place < len(ALL) else "mixed"), Instance(rows, draw.uniform(0.01, 10.0, tasks))


def fuzz(spec: str, matrices: int) -> Tally:
    """Show one method all matrices."""
    registry, tally = load_registry(), Tally(spec)
    methods: dict[int, tuple[Method, int]] = {}  # by K: a method with state keeps its number of tasks
    begun = time.perf_counter()
    for family, instance in instances(matrices):
        tasks = len(instance.losses)
        method, steps = methods.get(tasks, (None, RESTART))
        if method is None or steps >= RESTART or tally.failures or method.state == "K × P":
            method, steps = registry.method(spec), 0
        methods[tasks] = (method, steps + 1)
        if tasks < method.min_tasks:
            continue
        tally.calls += 1
        try:
            _judge(tally, family, method, instance)
        except SolverError:
            tally.refused += 1
            methods.pop(tasks)
        except Exception as error:  # counted, whatever it is
            tally.failures.append(f"{type(error).__name__} on {family}: {error}; J = {instance.rows.tolist()}")
    tally.seconds = time.perf_counter() - begun
    return tally


def _judge(tally: Tally, family: str, method: Method, instance: Instance) -> None:
    if method.returns == "update":
        if not np.isfinite(step(method, instance)).all():
            tally.failures.append(f"not finite on {family}; J = {instance.rows.tolist()}")
        return
    seen = show(method, instance)
    _, weights = weigh(method, instance)
    assert weights is not None
    if not np.isfinite(weights).all():
        tally.failures.append(f"not finite on {family}; J = {instance.rows.tolist()}")
    residual = method.residual(seen, weights)
    if residual is not None:
        tally.worst[family] = max(tally.worst.get(family, 0.0), residual)
        if not residual <= OPTIMAL:
            tally.failures.append(f"residual {residual:.1e} on {family}; J = {instance.rows.tolist()}")


def page(tallies: list[Tally], matrices: int) -> str:
    """Return the table in Markdown."""
    families = [*(family.__name__ for family in ALL), "mixed"]
    calls, failed = sum(tally.calls for tally in tallies), sum(len(tally.failures) for tally in tallies)
    refused = sum(tally.refused for tally in tallies)
    lines = [
        "# Fuzz",
        "",
        f"Made by `python benchmarks/fuzz.py --matrices {matrices}`: {len(tallies)} methods, {calls:,} calls, "
        f"{refused} refused (SolverError), {failed} failed (a weight that is not finite, a residual above "
        f"{OPTIMAL:g}, or any other error).",
        "",
        "| method | calls | refused | failures | µs a call |",
        "| --- | ---: | ---: | ---: | ---: |",
        *(
            f"| {tally.method} | {tally.calls:,} | {tally.refused} | {len(tally.failures)} | "
            f"{1e6 * tally.seconds / max(1, tally.calls):.0f} |"
            for tally in tallies
        ),
        "",
        f"Largest residual of the method's own optimality conditions, {matrices // len(families):,} matrices a family:",
        "",
        f"| method | {' | '.join(family.replace('_', ' ') for family in families)} |",
        f"| --- |{' ---: |' * len(families)}",
        *(
            f"| {tally.method} | {' | '.join(f'{tally.worst[name]:.0e}' for name in families)} |"
            for tally in tallies
            if tally.worst
        ),
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run from the command line; exits with 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", help="methods; all if none is given")
    parser.add_argument("--matrices", type=int, default=100_000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    specs = arguments.methods or load_registry().catalogue()
    with multiprocessing.get_context("spawn").Pool(arguments.jobs) as pool:
        tallies = pool.map(partial(fuzz, matrices=arguments.matrices), specs, chunksize=1)
    text = page(tallies, arguments.matrices)
    for tally in tallies:
        for failure in tally.failures[:3]:
            print(f"{tally.method}: {failure[:1000]}", file=sys.stderr)
    if arguments.output is None:
        print(text)
    else:
        arguments.output.write_text(text, encoding="utf-8")
    return 1 if any(tally.failures for tally in tallies) else 0


if __name__ == "__main__":
    sys.exit(main())
