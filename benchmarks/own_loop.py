"""Surgery in a user's own loop beside the plain sum and TorchJD: whole optimizer steps, contenders in turn.

    python -m benchmarks.own_loop --output .benchmarks-own-loop.json
    python benchmarks/own_loop_page.py .benchmarks-own-loop.json > benchmarks/own_loop.md

All contenders of a setting take turns in one process, on one model and the same batches, so that their ratios are
paired. Run it on an idle machine; it takes about 25 minutes.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torchjd.aggregation import PCGrad
from torchjd.autojac import backward as jac_backward
from torchjd.autojac import jac_to_grad, mtl_backward

import mtlbench
from benchmarks.own_settings import Setting, images, texts
from benchmarks.workloads import ROOT
from mtlbench.engine.cost import PeakMemory
from mtlbench.host.provenance import environment, usable_cores

CYCLE = 10
"""Steps between renewals of the weights; such a contender is timed over whole cycles, since one step in ten is dear."""


class Plain:
    """The plain sum, one joint backward pass."""

    cycle = 1

    def __init__(self, setting: Setting) -> None:
        self.setting = setting

    def step(self, step: int) -> None:
        """Take one optimizer step."""
        self.setting.optimizer.zero_grad()
        self.backward(*self.setting.forward(step))
        self.setting.optimizer.step()

    def backward(self, losses: list[torch.Tensor], features: list[torch.Tensor]) -> None:
        """Fill ``.grad``."""
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Undo what the contender does to the model."""


class Ours(Plain):
    """A method by ``mtlbench.Surgery``.

    :param method: its name; ``"sum"`` with ``skip_zero_rows`` is the plain sum with the same layers.
    :param options: further arguments of ``Surgery``.
    """

    def __init__(self, setting: Setting, method: str = "pcgrad", **options: Any) -> None:
        super().__init__(setting)
        self.cycle = options.get("renew_every", 1)
        self.surgery = mtlbench.Surgery(setting.shared, method, tasks=len(setting.heads), **options)
        if self.surgery.skipping is not None:
            self.surgery.skipping.close()

    def step(self, step: int) -> None:
        """Take one optimizer step; the layers are replaced during it alone, since others run on the same model."""
        if self.surgery.skipping is not None:
            self.surgery.skipping.open()
        super().step(step)
        if self.surgery.skipping is not None:
            self.surgery.skipping.close()

    def backward(self, losses: list[torch.Tensor], features: list[torch.Tensor]) -> None:
        needs = self.surgery.gram_of == "representation"
        self.surgery.loss(losses, representation=features if needs else None).backward()  # type: ignore[no-untyped-call]

    def close(self) -> None:
        self.surgery.close()


class TorchJD(Plain):
    """PCGrad by TorchJD.

    :param call: ``"backward"`` from the losses, or ``"mtl_backward"`` from the features.
    :param chunk: how many losses are differentiated at a time; ``None``: all, TorchJD's default.
    """

    def __init__(self, setting: Setting, call: str, chunk: int | None) -> None:
        super().__init__(setting)
        self.call, self.chunk, self.aggregator = call, chunk, PCGrad()

    def backward(self, losses: list[torch.Tensor], features: list[torch.Tensor]) -> None:
        shared = self.setting.parameters
        heads = [list(head.parameters()) for head in self.setting.heads]
        if self.call == "mtl_backward":
            mtl_backward(losses, features, tasks_params=heads, shared_params=shared, parallel_chunk_size=self.chunk)
        else:
            own = [parameter for head in heads for parameter in head]
            gradients = torch.autograd.grad(torch.stack(losses).sum(), own, retain_graph=True)
            for parameter, gradient in zip(own, gradients, strict=True):
                parameter.grad = gradient
            jac_backward(losses, inputs=shared, parallel_chunk_size=self.chunk)
        jac_to_grad(shared, self.aggregator, optimize_gramian_computation=True)


PEERS: dict[str, Callable[[Setting], Plain]] = {
    f"TorchJD {call}, {'all at once' if chunk is None else 'one at a time'}": partial(TorchJD, call=call, chunk=chunk)
    for call in ("backward", "mtl_backward")
    for chunk in (1, None)
}
OURS: dict[str, Callable[[Setting], Plain]] = {
    "PCGrad": Ours,
    "PCGrad, rows of zeros skipped": partial(Ours, skip_zero_rows=True),
    "plain sum, rows of zeros skipped": partial(Ours, method="sum", skip_zero_rows=True),
}
CHEAPER: dict[str, Callable[[Setting], Plain]] = {
    "PCGrad, Gram matrix of the representation": partial(Ours, gram_of="representation"),
    f"PCGrad, weights renewed every {CYCLE} steps": partial(Ours, renew_every=CYCLE),
}


@dataclass(frozen=True)
class Case:
    """A setting and how often its contenders run.

    :param make: makes the setting.
    :param rounds: rounds at most.
    :param slow: rounds that TorchJD takes part in.
    :param seconds: no round begins after these.
    :param cheaper: whether the cheaper ways take part.
    """

    make: Callable[[], Setting]
    rounds: int
    slow: int
    seconds: float
    cheaper: bool = False


CASES = {
    "MiniLM, padded, a batch a task": Case(lambda: texts("minilm"), 15, 7, 150),
    "BERT-base, padded, a batch a task": Case(lambda: texts("bert-base"), 7, 2, 240),
    "MiniLM, no dead rows": Case(lambda: texts("minilm", padded=False), 11, 3, 100),
    "MiniLM, one concatenated batch": Case(lambda: texts("minilm", how="concatenated"), 11, 3, 120),
    "CNN, one shared batch, K = 3": Case(lambda: images(3), 21, 7, 60, cheaper=True),
    "MiniLM, one shared batch, K = 3": Case(lambda: texts("minilm", how="shared"), 15, 5, 100, cheaper=True),
    "CNN, one shared batch, K = 40": Case(lambda: images(40), 5, 2, 200, cheaper=True),
    "MiniLM with LoRA, a batch a task": Case(lambda: texts("minilm", lora=True), 11, 3, 90),
    "MiniLM with LoRA, one shared batch, K = 3": Case(lambda: texts("minilm", how="shared", lora=True), 15, 5, 70),
}


MEMORY_CASES = ("MiniLM, padded, a batch a task", "BERT-base, padded, a batch a task")


def measure(case: Case, tell: Callable[[str], None]) -> dict[str, Any]:
    """Let the contenders of a case take turns, a different one first in every round.

    :param case: the case.
    :param tell: prints progress.
    :returns: seconds a step, by contender and round; ``None`` where a contender sat a round out.
    """
    setting = case.make()
    contenders = {name: make(setting) for name, make in {**OURS, **(CHEAPER if case.cheaper else {})}.items()}
    contenders = {"plain sum": Plain(setting), **contenders, **{name: make(setting) for name, make in PEERS.items()}}
    seconds: dict[str, list[float | None]] = {}
    errors: dict[str, str] = {}
    for name, contender in list(contenders.items()):
        try:
            contender.step(0)
            seconds[name] = []
        except Exception as error:  # a peer may not support a setting
            errors[name] = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
            tell(f"{name}: {errors[name]}")
            del contenders[name]
    begun = time.perf_counter()
    for number in range(case.rounds):
        if number >= 2 and time.perf_counter() - begun > case.seconds:
            break
        names = list(contenders)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            contender = contenders[name]
            out = (name in PEERS and number >= case.slow) or (contender.cycle > 1 and number > case.rounds // 2)
            seconds[name].append(None if out else _seconds(contender, 1 + number))
        last = {name: row[-1] for name, row in seconds.items()}
        tell(f"round {number + 1}: " + ", ".join(f"{name} {value:.3f}" for name, value in last.items() if value))
    for contender in contenders.values():
        contender.close()
    return {"seconds": seconds, "errors": errors}


def peak(case: str, contender: str) -> dict[str, int]:
    """Return the bytes that three steps of a contender need at their peak, beyond what was there before.

    :param case: the case's name.
    :param contender: the contender's name.
    """
    setting = CASES[case].make()
    make = {"plain sum": Plain, **OURS, **PEERS}[contender]
    before, memory = PeakMemory("cpu").read(), PeakMemory("cpu")
    runner = make(setting)
    for step in range(3):
        runner.step(step)
    shared = sum(parameter.numel() * parameter.element_size() for parameter in setting.parameters)
    return {"peak": memory.read() - before, "shared": shared, "tasks": len(setting.heads)}


def _peaks() -> list[dict[str, Any]]:
    """Measure peak memory, each contender in a process of its own."""
    result = []
    for case in MEMORY_CASES:
        for contender in ("plain sum", *OURS, "TorchJD backward, one at a time"):
            call = f"own_loop.peak({case!r}, {contender!r})"
            code = f"import json; from benchmarks import own_loop; print(json.dumps({call}))"
            done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
            result.append({"case": case, "contender": contender, **json.loads(done.stdout)})
    return result


def _seconds(contender: Plain, step: int) -> float:
    """Return the mean seconds of a step over the contender's cycle."""
    gc.collect()
    begun = time.perf_counter()
    for number in range(contender.cycle):
        contender.step(step * contender.cycle + number)
    return (time.perf_counter() - begun) / contender.cycle


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the cases, and write a JSON file after each."""
    parser = argparse.ArgumentParser(description="Time surgery in a user's own loop beside its peers.")
    parser.add_argument("--output", type=Path, default=Path(".benchmarks-own-loop.json"), help="JSON file to write")
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--only", help="measure the cases whose names contain this again")
    parser.add_argument("--quick", action="store_true", help="three rounds of every case")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    begun = time.perf_counter()
    results: dict[str, Any] = {"threads": options.threads, **environment(), "cases": {}}
    if options.only is not None and options.output.is_file():
        results = json.loads(options.output.read_text(encoding="utf-8"))
    if options.only in (None, "memory"):
        results["memory"] = _peaks()
    for name, case in CASES.items():
        if options.only is None or options.only in name:
            print(f"-- {name}", flush=True)
            chosen = Case(case.make, 3, 1, case.seconds, case.cheaper) if options.quick else case
            results["cases"][name] = measure(
                chosen, lambda text: print(f"[{time.perf_counter() - begun:5.0f} s] {text}", flush=True)
            )
            gc.collect()
        options.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
