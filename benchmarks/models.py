"""The models of a benchmark, the contenders on them, and one step of each."""

from __future__ import annotations

import gc
import time
from typing import Any

import torch

from benchmarks.peers import OneBackward, Published, TorchJD, variants
from benchmarks.workloads import Corpus, make_tasks, minilm
from mtlbench.bench.contenders import Contender, Ours, Padded, PaddedModel, make_optimizer
from mtlbench.contract.method import Method
from mtlbench.engine.cost import PeakMemory
from mtlbench.plugins.registry import load_registry
from mtlbench.recipe.suite import Recipe
from mtlbench.text.batches import TaskData
from mtlbench.text.encoder import Encoder, EncoderFiles
from mtlbench.text.model import MultiTaskModel

PEERS = {"plain": Padded, "plain, one backward": OneBackward, "published": Published, "torchjd": TorchJD}


def recipe(engine: str, batch: int, threads: int) -> Recipe:
    """Return the recipe of a contender."""
    given = {"tasks": ("part",), "model": "benchmark", "steps": 1, "batch_size": batch, "lr": 1e-5}
    return Recipe(**given, engine=engine, threads=threads)  # type: ignore[arg-type]


class Models:
    """The models of one configuration: one for the peers, one for the packed engines, one for the loop."""

    def __init__(self, encoder: Encoder, files: EncoderFiles, data: list[TaskData], batch: int, threads: int) -> None:
        self.encoder, self.files, self.data, self.batch, self.threads = encoder, files, data, batch, threads
        self.padded: tuple[PaddedModel, torch.optim.Optimizer] | None = None
        self.packed: tuple[MultiTaskModel, torch.optim.Optimizer] | None = None

    def contender(self, name: str, torchjd: dict[str, Any] | None = None) -> Contender:
        """Build a contender by name."""
        if name in PEERS:
            model, optimizer = self._padded()
            if name == "torchjd":
                return TorchJD(model, optimizer, self.data, **(torchjd or variants(len(self.data))[0]))
            return PEERS[name](model, optimizer, self.data)
        engine, _, method = name.partition(" ")
        return self.ours(engine, load_registry().method(method))

    def ours(self, engine: str, method: Method) -> Ours:
        """Build a method on an engine."""
        shared = None if engine == "loop" else self.packed
        model, optimizer = shared or self._ours()
        if engine != "loop":
            self.packed = model, optimizer
        return Ours(model, optimizer, self.data, method, recipe(engine, self.batch, self.threads))

    def _padded(self) -> tuple[PaddedModel, torch.optim.Optimizer]:
        if self.padded is None:
            model = PaddedModel(self.encoder, self.files, [one.task for one in self.data]).train()
            self.padded = model, make_optimizer(list(model.parameters()), recipe("auto", self.batch, self.threads))
        return self.padded

    def _ours(self) -> tuple[MultiTaskModel, torch.optim.Optimizer]:
        model = MultiTaskModel(self.encoder, self.files, [one.task for one in self.data], 0).train()
        trained = [*model.shared, *model.heads.parameters()]
        return model, make_optimizer(trained, recipe("auto", self.batch, self.threads))


def take(contender: Contender, step: int) -> float:
    """Take one step and return its seconds; ours with deterministic kernels, as `mtlbench run` sets them."""
    torch.use_deterministic_algorithms(isinstance(contender, Ours))
    gc.collect()
    begun = time.perf_counter()
    contender.step(step)
    return time.perf_counter() - begun


def peak_of(name: str, count: int, steps: int, threads: int, corpora: list[Corpus]) -> dict[str, int]:
    """Return the peak resident memory of some steps with MiniLM, 8 rows a task, and what was before them."""
    encoder, files = minilm()
    data = make_tasks(corpora, count, 8, steps)
    contender = Models(encoder, files, data, 8, threads).contender(name)
    before, memory = PeakMemory("cpu").read(), PeakMemory("cpu")
    for step in range(steps + 1):
        take(contender, step)
    return {"peak": memory.read(), "before": before}
