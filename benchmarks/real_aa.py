"""Does the report claim differences between trained models where there is none? Real grids; prints Markdown.

    python -m benchmarks.real_aa > benchmarks/real_aa.md

Every cell is trained by ``mtlbench run``: a BERT of one narrow layer on the embedded tasks. ``twin-a`` and ``twin-b``
are one method under two names: they weight gradients at random, each from its own generator, so that for one seed they
share start, batches and dropout, and nothing but chance tells them apart. The plain sum is compared with itself, under
other seeds. Each comparison is a report of its own, made as for any records.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.calibration import BAND, Rate, attained
from benchmarks.tiny_bert import write_tiny_bert
from mtlbench import stats
from mtlbench.plugins.registry import load_registry
from mtlbench.records.record import Record
from mtlbench.records.store import Store
from mtlbench.report.build import build

SEEDS = 140
SIZES = (5, 10)
"""Seeds of a comparison."""
PARTITIONS = 40
"""How often the cells are dealt out anew."""
TASKS = tuple(f"{name}[train_rows=400,dev_rows=200]" for name in ("sentiment", "paraphrase", "similarity"))
TWINS = """
from mtlbench.methods.random import RandomGradients


class A(RandomGradients):
    name = "twin-a"


class B(RandomGradients):
    name = "twin-b"
"""
SUITE = """
description = "A/A"
methods = ["sum", "twin-a", "twin-b"]
seeds = {seeds}
tasks = {tasks}
model = "{model}"
steps = 40
batch_size = 8
lr = 3e-3
max_length = 48
evaluations = 1
measure_every = 40
threads = 1
"""
TEXT = """\
Made by `python -m benchmarks.real_aa > benchmarks/real_aa.md`: {cells} cells (a BERT of one narrow layer, 40 steps on
the embedded tasks), trained by `mtlbench run` in {minutes:.0f} minutes on two cores. Twins are one method under two
names: at one seed they share start, batches and dropout, and differ by private random numbers. The sum is compared with
itself under other seeds. Every comparison is a report of its own. Counted is how often it rejects at α = .05 on one
task, uncorrected, by the test that it chose, and how often it claims any difference.

All seeds are dealt out to disjoint comparisons, {partitions} times anew; the rate is over all of these. Deals of one
pool are not independent. The band is therefore that of the disjoint comparisons of a single deal: {band:.1%} of what
binomial chance makes of the target. It is wide: the page would show a test that rejects several times too often, no
finer fault; for those see calibration.md. The target is a bound for Holm, and for tests of differences that are often
zero or have long tails: both make them reject less. Share of seeds in which the twins score the same:
{ties}.
"""


def write_model(folder: Path) -> None:
    """Write a BERT of one layer, width 32, that knows the words of the embedded tasks."""
    registry = load_registry()
    rows = [row for task in TASKS for row in registry.task(task).load(None).train.texts]
    words = sorted({word for row in rows for text in row for word in text.lower().replace(",", " ").split()})
    write_tiny_bert(folder, [",", *words], layers=1)


def train(folder: Path) -> list[Record]:
    """Run the grid in a folder, two cells at a time, and return the records."""
    model, twins, suite, results = (folder / name for name in ("model", "twins.py", "aa.toml", "results"))
    write_model(model)
    twins.write_text(TWINS, encoding="utf-8")
    suite.write_text(SUITE.format(seeds=SEEDS, tasks=list(TASKS), model=model), encoding="utf-8")
    options = ["--suite", suite, "--plugin", twins, "--results", results, "--jobs", "2"]
    command = [sys.executable, "-m", "mtlbench", "run", *map(str, options)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return Store(results).scan().records


def same_seeds(records: Sequence[Record], n: int, generator: np.random.Generator) -> Iterator[list[Record]]:
    """Deal all seeds out to disjoint comparisons of the twins."""
    twins = {(record["method"]["spec"], record["seed"]): record for record in records}
    seeds = sorted(seed for method, seed in twins if method == "twin-a" and ("twin-b", seed) in twins)
    for chosen in _dealt(seeds, n, generator):
        yield [_named(twins[f"twin-{name}", seed], name) for seed in chosen for name in "ab"]


def other_seeds(records: Sequence[Record], n: int, generator: np.random.Generator) -> Iterator[list[Record]]:
    """Deal all seeds of the plain sum out to disjoint comparisons of n seeds with n others."""
    cells = {record["seed"]: record for record in records if record["method"]["spec"] == "sum"}
    for chosen in _dealt(sorted(cells), 2 * n, generator):
        yield [_named(cells[seed], "a" if place < n else "b") for place, seed in enumerate(chosen)]


def _dealt(seeds: Sequence[int], size: int, generator: np.random.Generator) -> list[list[int]]:
    order = generator.permutation(seeds).tolist()
    return [order[start : start + size] for start in range(0, len(order) - size + 1, size)]


def _named(record: Record, name: str) -> Record:
    return {**record, "method": {**record["method"], "spec": name, "name": name}}


WAYS: dict[str, Callable[[Sequence[Record], int, np.random.Generator], Iterator[list[Record]]]] = {
    "twins, same seeds": same_seeds,
    "sum, other seeds": other_seeds,
}


def rates(records: Sequence[Record], partitions: int) -> list[Rate]:
    """Return how often the report's primary test rejects on each task, and how often the report claims anything."""
    found = []
    for number, (way, deal) in enumerate(WAYS.items()):
        for n in SIZES:
            generator = np.random.default_rng([number, n])
            rejected: dict[str, list[bool]] = {}
            disjoint = 0
            for _ in range(partitions):
                deals = list(deal(records, n, generator))
                disjoint = len(deals)
                for compared in deals:
                    (group,) = build(compared, baseline="a").groups
                    primary = [d for d in group.comparisons if d.family == "primary"]
                    for d in primary:
                        p = d.primary_p
                        rejected.setdefault(f"{d.task}, {d.primary_test}", []).append(p is not None and p < stats.ALPHA)
                    rejected.setdefault("any claim, Holm", []).append(any(d.separable for d in primary))
            for what, told in sorted(rejected.items()):
                target = attained(n, stats.ALPHA) if what.endswith("sign flip") else stats.ALPHA
                found.append(Rate(what, f"{way}, n = {n}", float(np.mean(told)), target, disjoint))
    return found


def _ties(records: Sequence[Record]) -> str:
    """Say, task by task, in which share of the seeds the twins score the same."""
    twins = {(record["method"]["spec"], record["seed"]): record["scores"] for record in records}
    seeds = [seed for method, seed in twins if method == "twin-a"]
    told = []
    for task in records[0]["scores"]:
        metric = records[0]["tasks"][task]["metrics"][0]
        same = [twins["twin-a", s][task][metric] == twins["twin-b", s][task][metric] for s in seeds]
        told.append(f"{task} {np.mean(same):.0%}")
    return ", ".join(told)


def page(found: Sequence[Rate], records: Sequence[Record], partitions: int, minutes: float) -> str:
    """Return the page."""
    above = [rate for rate in found if rate.rate > rate.band[1]]
    lines = [
        "# A/A: trained models between which there is no difference",
        "",
        *TEXT.format(
            cells=len(records), minutes=minutes, partitions=partitions, band=BAND, ties=_ties(records)
        ).splitlines(),
        "",
        f"{len(found) - len(above)} of {len(found)} rates are not above their band.",
        "",
        "| what | setting | rate | target | band | disjoint comparisons | not above |",
        "| --- | --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for r in found:
        band, kept = f"{r.band[0]:.3f} to {r.band[1]:.3f}", "**no**" if r in above else "yes"
        row = (r.what, r.setting, f"{r.rate:.4f}", f"{r.target:.4f}", band, str(r.trials), kept)
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        records = train(Path(folder))
        minutes = (time.monotonic() - begun) / 60
        sys.stdout.write(page(rates(records, PARTITIONS), records, PARTITIONS, minutes))


if __name__ == "__main__":
    main()
