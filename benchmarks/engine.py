"""Whole optimizer steps of the engines beside a plain sum, published code and TorchJD, all in one run.

    python -m benchmarks.engine --output .benchmarks-engine.json
    python benchmarks/engine_page.py .benchmarks-engine.json > benchmarks/engine.md

Contenders take turns step by step in one process, on the same batches, so that their ratios are paired. That is why
this is a script: pytest-benchmark runs one contender after another. It takes about 20 minutes on an idle machine.
"""

from __future__ import annotations

import argparse
import gc
import json
import pickle
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import inside
from benchmarks.models import Models, take
from benchmarks.peers import variants
from benchmarks.workloads import ROOT, bert_base, load_corpora, make_tasks, minilm
from mtlbench.bench.contenders import Contender, Ours
from mtlbench.execute.worker import prepare_process
from mtlbench.host.provenance import environment, usable_cores
from mtlbench.plugins.registry import load_registry

NAMES = ("plain", "published", "torchjd", "loop pcgrad", "packed sum", "packed pcgrad", "lean pcgrad")
SLOW = ("published", "torchjd")
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "MiniLM-L6, batch 8": {"model": "minilm", "batch": 8, "rounds": 12, "slow": 7, "seconds": 90},
    "MiniLM-L6, batch 32": {"model": "minilm", "batch": 32, "rounds": 4, "slow": 2, "seconds": 80},
    "BERT-base, batch 8": {"model": "bert-base", "batch": 8, "rounds": 5, "slow": 2, "seconds": 130},
    "BERT-base, batch 32": {
        "model": "bert-base",
        "batch": 32,
        "rounds": 5,
        "slow": 0,
        "seconds": 180,
        "names": ("plain", "packed sum", "packed pcgrad"),
    },
}
"""Rounds at most, rounds that the slow peers take part in, and seconds after which no round begins."""
LEAST_ROUNDS = 2
MEMORY_TASKS = (3, 8, 16, 32)
MEMORY_NAMES = ("plain", "plain, one backward", "lean pcgrad")
GROWTH = ((24, "24 rows a step"), (96, "96 rows a step"))


def interleave(
    contenders: dict[str, Contender], rounds: int, slow: int, seconds: float, tell: Callable[[str], None]
) -> dict[str, list[float | None]]:
    """Let contenders take turns, a different one first in every round; return their seconds, round by round."""
    for name, contender in contenders.items():
        tell(f"warming up {name}")
        take(contender, 0)
    found: dict[str, list[float | None]] = {name: [] for name in contenders}
    begun = time.perf_counter()
    for number in range(rounds):
        if number >= LEAST_ROUNDS and time.perf_counter() - begun > seconds:
            break
        names = list(contenders)
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            skipped = name in SLOW and number >= slow
            found[name].append(None if skipped else take(contenders[name], number + 1))
        told = ", ".join(f"{name} {of[-1]:.2f}" for name, of in found.items() if of[-1] is not None)
        tell(f"round {number + 1} of {rounds}: {told} s")
    return found


class Run:
    """One run of the script: its options, its results so far, and the clock."""

    def __init__(self, output: Path, *, quick: bool, threads: int, minutes: float) -> None:
        self.output, self.quick, self.threads = output, quick, threads
        self.begun, self.seconds = time.perf_counter(), 60.0 * minutes
        self.corpora, source = load_corpora()
        self.results: dict[str, Any] = {
            "quick": quick,
            "threads": threads,
            "data": source,
            "errors": {},
            **environment(),
        }
        self.torchjd: dict[str, Any] | None = None

    def tell(self, text: str) -> None:
        print(f"[{time.perf_counter() - self.begun:5.0f} s] {text}", flush=True)

    def section(self, name: str, work: Callable[[], Any]) -> None:
        """Run one part, and write what there is; a part that fails costs only itself."""
        if time.perf_counter() - self.begun > self.seconds:
            self.results["errors"][name] = "no time was left"
            return
        self.tell(f"-- {name}")
        try:
            self.results[name] = work()
        except Exception as error:
            traceback.print_exc()
            self.results["errors"][name] = f"{type(error).__name__}: {error}"
        gc.collect()
        self.output.write_text(json.dumps(self.results, indent=1) + "\n", encoding="utf-8")

    def configuration(self, name: str, folder: Path) -> dict[str, Any]:
        """Time all contenders on one model and batch size; look inside a step where the batch is small."""
        wanted = CONFIGURATIONS[name]
        rounds = 3 if self.quick else wanted["rounds"]
        encoder, files = minilm() if wanted["model"] == "minilm" else bert_base(folder)
        data = make_tasks(self.corpora, 3, wanted["batch"], rounds)
        models = Models(encoder, files, data, wanted["batch"], self.threads)
        names = wanted.get("names", NAMES)
        if "torchjd" in names and self.torchjd is None:
            self.torchjd, self.results["torchjd variants"] = self._fastest_torchjd(models)
        contenders = {one: models.contender(one, self.torchjd) for one in names}
        slow = min(wanted["slow"], 1 if self.quick else rounds)
        seconds = interleave(contenders, rounds, slow, wanted["seconds"], self.tell)
        tokens = [inside.tokens_of(data, step + 1) for step in range(rounds)]
        found = {"seconds": seconds, "tokens": tokens, "batch": wanted["batch"]}
        if wanted["batch"] == 8:
            packed = contenders["packed pcgrad"]
            assert isinstance(packed, Ours)
            found["surgery"] = inside.surgery(packed, range(1, rounds + 1))
            model = packed.inputs.model
            shared, tables = (sum(one.numel() for one in of) for of in (model.shared, model.tables))
            found["traffic"] = inside.traffic(len(data), shared - tables)
            found["floor"] = inside.floor(model.encoder.config, data, range(1, rounds + 1))
            found["profile"] = inside.profile(packed, 1)
        return found

    def _fastest_torchjd(self, models: Models) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Return the fastest way to call TorchJD on this machine, and what each way took."""
        tried: list[dict[str, Any]] = []
        take(models.contender("plain"), 1)  # the first whole step finds memory, which is nobody's own cost
        for variant in variants(3)[:1] if self.quick else variants(3):
            try:
                contender = models.contender("torchjd", variant)
                take(contender, 0)
                seconds = take(contender, 1)
            except (RuntimeError, ValueError) as error:  # a way that cannot be gone with this model
                tried.append({**variant, "error": str(error)[:200]})
                continue
            tried.append({**variant, "seconds": seconds})
            self.tell(f"torchjd {variant}: {seconds:.2f} s")
        best = min((one for one in tried if "seconds" in one), key=lambda one: one["seconds"])
        return {"call": best["call"], "chunk": best["chunk"]}, tried

    def growth(self) -> dict[str, Any]:
        """Time PCGrad with engine=auto at 3 and at 24 tasks on the same rows."""
        encoder, files = minilm()
        found = {}
        for rows, title in GROWTH[:1] if self.quick else GROWTH:
            rounds = 3 if self.quick else (16 if rows == 24 else 6)
            contenders: dict[str, Contender] = {}
            for count in (3, 24):
                data = make_tasks(self.corpora, count, rows // count, rounds)
                models = Models(encoder, files, data, rows // count, self.threads)
                for engine in ("auto", "packed") if count > 3 else ("auto",):
                    contenders[f"{count} tasks, {engine}"] = models.ours(engine, load_registry().method("pcgrad"))
            found[title] = interleave(contenders, rounds, 0, 40.0, self.tell)
        return found

    def memory(self, folder: Path) -> list[dict[str, Any]]:
        """Measure peak memory of plain sums and of lean PCGrad, each in a process of its own."""
        file = folder / "corpora.pickle"
        file.write_bytes(pickle.dumps(self.corpora))
        found = []
        for count in MEMORY_TASKS[:1] if self.quick else MEMORY_TASKS:
            for name in MEMORY_NAMES:
                steps = 2 if count <= 8 else 1
                call = ["-m", "benchmarks.memory", name, str(count), str(steps), str(self.threads), str(file)]
                done = subprocess.run(
                    [sys.executable, *call], cwd=ROOT, capture_output=True, text=True, timeout=240, check=True
                )
                found.append({"name": name, "tasks": count, **json.loads(done.stdout)})
                self.tell(f"{name}, {count} tasks: {found[-1]['peak'] / 1e6:.0f} MB")
        return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Time the engines beside their peers.")
    parser.add_argument("--quick", action="store_true", help="a few steps of MiniLM at batch 8 only")
    parser.add_argument("--output", type=Path, default=Path(".benchmarks-engine.json"), help="JSON file to write")
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--minutes", type=float, default=20, help="after which no further part begins")
    parser.add_argument("--only", help="measure this part again (growth, loop, memory, or a configuration's name)")
    given = parser.parse_args(arguments)
    prepare_process(given.threads)
    run = Run(given.output, quick=given.quick, threads=given.threads, minutes=given.minutes)
    run.tell(f"data: {run.results['data']}; {given.threads} threads")
    if given.only is not None and given.output.is_file():
        run.results = json.loads(given.output.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        parts: dict[str, Callable[[], Any]] = {
            name: lambda name=name: run.configuration(name, folder)  # type: ignore[misc]
            for name in (list(CONFIGURATIONS)[:1] if given.quick else CONFIGURATIONS)
        }
        parts["growth"] = run.growth
        parts["loop"] = lambda: inside.loop_share(5 if given.quick else 60, given.threads)
        parts["memory"] = lambda: run.memory(folder)
        for name in sorted(parts, key=lambda name: "32" in name):  # large batches last: they say least for their time
            if given.only in (None, name):
                run.results["errors"].pop(name, None)
                run.section(name, parts[name])
    run.tell(f"wrote {given.output}; errors: {run.results['errors'] or 'none'}")


if __name__ == "__main__":
    main()
