"""How long 10,000 records take to read and to report on, and how much memory: without the cache, and with it.

    python benchmarks/report.py          # prints the table; --write puts it into benchmarks/report.md

20 suites × 20 methods × 25 seeds, each record of the form and size of a real one, with a history of one step and
predictions of a byte beside it. Every row is a process of its own, so that it starts as cold as a user's; the files are
in the operating system's memory. Bar: 10 s.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mtlbench.plan.cells import fingerprint
from mtlbench.records.store_cache import CACHE_FOLDER, SETTLED_NS

PAGE = Path(__file__).with_suffix(".md")
SUITES, METHODS, SEEDS = 20, 20, 25
TASKS = ("sst5", "qqp", "stsb")
METRICS = {"sst5": ("accuracy", "macro_f1"), "qqp": ("accuracy", "macro_f1"), "stsb": ("pearson", "spearman")}
BAR_SECONDS = 10.0


def records(suites: int, methods: int, seeds: int) -> Iterator[dict[str, Any]]:
    """Yield records like those of a grid on every suite; the first method is the sum, the second single-task."""
    names = ["sum", "stl", *(f"method-{index:02d}" for index in range(2, methods))]
    for suite in range(suites):
        random = np.random.default_rng(suite)
        starts = random.normal(0, 0.02, (seeds, len(TASKS)))
        for index, name in enumerate(names):
            values = 0.6 + starts + random.normal(0.002 * index, 0.004, (seeds, len(TASKS)))
            for seed in range(seeds):
                yield _record(f"suite-{suite:02d}", name, seed, values[seed])


def _record(suite: str, method: str, seed: int, values: Any) -> dict[str, Any]:
    """Return one finished cell."""
    scores = {
        task: {metric: float(value) - 0.05 * place for place, metric in enumerate(METRICS[task])}
        for task, value in zip(TASKS, values, strict=True)
    }
    shared = {part: {task: fingerprint([part, task, seed]) for task in TASKS} for part in ("heads", "schedule")}
    return {
        "schema": 1,
        "key": fingerprint([suite, method, seed]),
        "group": fingerprint(suite),
        "status": "done",
        "suite": suite,
        "seed": seed,
        "method": {
            "spec": method,
            "name": method,
            "parameters": {},
            "joint": method != "stl",
            "reads": "gram",
            "heads": "own",
            "source_sha256": fingerprint(method),
        },
        "recipe": {"tasks": list(TASKS), "model": "minilm", "steps": 200, "batch_size": 8, "lr": 5e-5},
        "tasks": {task: _task(task) for task in TASKS},
        "encoder": {"spec": "minilm", "name": "MiniLM", "fingerprint": fingerprint("e"), "tuned_on": ["quora"]},
        "engine": {"name": "packed", "reason": None},
        "cut": None,
        "pairing": {"shared": fingerprint(seed), **shared, "dropout": shared["heads"]},
        "scores": scores,
        "cost": {"seconds_per_step": 1.5, "peak_memory_bytes": 10**9},
        "conflict": {"share": 0.4, "mean_cosine": 0.05} if method != "stl" else None,
        "environment": {"versions": {"torch": "2.13.0", "numpy": "2.4.6"}, "git": None, "machine": {"cores": 2}},
        "started": f"2026-01-01T00:00:{seed:02d}.000Z",
        "seconds": 300.0,
        "error": None,
        "files": {},
    }


def _task(task: str) -> dict[str, Any]:
    """Return a task's description."""
    return {
        "spec": task,
        "prediction": "regression" if task == "stsb" else "classification",
        "metrics": list(METRICS[task]),
        "train": 8544,
        "dev": 1101,
        "skipped": {"train": 0, "dev": 0},
        "source": "made up by this benchmark",
        "corpus": "quora" if task == "qqp" else None,
        "fingerprint": fingerprint(task),
        "floors": {
            metric: [{"name": "constant", "value": 0.2}, {"name": "random", "value": 0.1}] for metric in METRICS[task]
        },
    }


def write(folder: Path, made: Iterator[dict[str, Any]]) -> int:
    """Write records as a store does, but for the waiting for the disk; return how many bytes they are."""
    size = 0
    rows = [{"step": 1, "losses": dict.fromkeys(TASKS, 1.0), "seconds": 1.5}]
    rows += [{"step": 1, "scores": {task: {METRICS[task][0]: 0.5} for task in TASKS}, "elapsed": 1.5}]
    history = "".join(json.dumps(row) + "\n" for row in rows).encode()
    for record in made:
        path = folder / record["suite"] / record["method"]["spec"] / f"seed-{record['seed']}-{record['key'][:12]}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        for what, ending, content in (("history", "jsonl", history), ("predictions", "parquet", b"-")):
            name = f"{path.stem}.{what}.{ending}"
            (path.parent / name).write_bytes(content)
            record["files"][what] = {"name": name, "bytes": len(content), "sha256": fingerprint(what)}
        record["checksum"] = fingerprint(record)
        size += path.write_bytes(json.dumps(record, indent=1).encode() + b"\n")
    return size


def measure(folder: Path, *arguments: str) -> tuple[float, float]:
    """Run a command in a process of its own; return its seconds and its peak memory in MiB."""
    code = (
        "import resource, sys; sys.argv[0] = 'mtlbench'\nfrom mtlbench.cli import main\n"
        "try: main()\nexcept SystemExit as end: assert not end.code, end.code\n"
        "finally: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, *arguments, "--results", str(folder)]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - start
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return seconds, int(done.stderr.split()[-1]) / unit


def _met(row: tuple[str, float, float]) -> str:
    return "met" if row[1] <= BAR_SECONDS else "missed"


def main() -> None:
    """Make the records, measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suites", type=int, default=SUITES)
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "results"
        size = write(folder, records(options.suites, METHODS, SEEDS))
        time.sleep(2 * SETTLED_NS / 1e9)  # what was written just now is not cached
        rows = [
            ("`status --json`, no cache (writes it)", *measure(folder, "status", "--json")),
            ("`status --json`, from the cache", *measure(folder, "status", "--json")),
            ("`report`, from the cache", *measure(folder, "report")),
        ]
        cache = sum(file.stat().st_size for file in (folder / CACHE_FOLDER).iterdir())
        shutil.rmtree(folder / CACHE_FOLDER)
        rows.append(("`report`, no cache (writes it)", *measure(folder, "report")))
    count = options.suites * METHODS * SEEDS
    lines = [
        "# What a report of many records costs",
        "",
        f"`python benchmarks/report.py`, Python {platform.python_version()}, {os.cpu_count()} cores,"
        f" load {os.getloadavg()[0]:.1f} from other work when it ended.",
        f"{count} records ({options.suites} suites × {METHODS} methods × {SEEDS} seeds), {size / 2**20:.0f} MiB;"
        f" the cache of them: {cache / 2**20:.1f} MiB.",
        "",
        "| command | seconds | peak memory |",
        "| --- | ---: | ---: |",
        *(f"| {what} | {seconds:.1f} | {memory:.0f} MiB |" for what, seconds, memory in rows),
        "",
        f"`status` reads and verifies the records and little else; `report` also compares. Bar: {BAR_SECONDS:.0f} s for"
        f" a report: {_met(rows[2])} from the cache, {_met(rows[3])} by the first one, which reads every file.",
    ]
    print("\n".join(lines))
    if options.write:
        PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
