"""What benchmarks/engine.py runs on: models, and any number of tasks on texts of real lengths."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mtlbench.contract.task import Kind, Task
from mtlbench.plugins.registry import load_registry
from mtlbench.text.batches import TaskData
from mtlbench.text.encoder import Encoder, EncoderFiles
from mtlbench.text.tokens import Tokenizer, Tokens

ROOT = Path(__file__).parents[1]
MAX_LENGTH = 128
ROWS = 2048
"""Rows of each corpus that batches are drawn from."""
CORPORA = {"sst5": (5, 3.10, 0.51), "qqp": (2, 3.35, 0.35), "stsb": (1, 3.24, 0.42)}
"""The paper's three: outputs, and mean and deviation of the logarithm of the number of tokens, measured with BERT's
tokenizer on the CS224N files; lengths are drawn from these log-normals where there are no files."""


@dataclass
class Part(Task):
    """One of several tasks on a corpus."""

    called: str = ""
    size: int = 1
    name = "part"

    @property
    def key(self) -> str:
        return self.called

    @property
    def prediction(self) -> Kind:
        return "classification" if self.size > 1 else "regression"

    @property
    def outputs(self) -> int:
        return self.size


@dataclass(frozen=True)
class Corpus:
    """Tokenised rows of one corpus, and its number of outputs (1: a real number)."""

    name: str
    outputs: int
    tokens: Tokens


def load_corpora() -> tuple[list[Corpus], str]:
    """Return the three corpora, and where their lengths come from."""
    places = [Path(os.environ.get("MTLBENCH_TEST_DATA", ROOT / "data/cs224n")), *ROOT.parent.glob("*/data/cs224n")]
    folder = next((place for place in places if place.is_dir()), None)
    if folder is None:
        return [_drawn(name) for name in CORPORA], "lengths drawn from log-normals fitted to the CS224N files"
    encoder = Encoder.parse("minilm")
    tokenizer, registry = Tokenizer(encoder, encoder.locate(), MAX_LENGTH), load_registry()
    texts = {name: registry.task(name).load(folder).train.sample(ROWS, "benchmark").texts for name in CORPORA}
    found = [Corpus(name, CORPORA[name][0], tokenizer.encode(rows)) for name, rows in texts.items()]
    return found, "texts of SST-5, Quora and STS, the CS224N files"


def _drawn(name: str) -> Corpus:
    outputs, mean, deviation = CORPORA[name]
    random = np.random.default_rng([*name.encode()])
    lengths = np.clip(random.lognormal(mean, deviation, ROWS).round(), 4, MAX_LENGTH).astype(np.int64)
    ids = random.integers(1000, 30_000, int(lengths.sum())).astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Corpus(name, outputs, Tokens(ids, np.zeros(len(ids), np.int8), offsets, 1, 0))


def make_tasks(corpora: list[Corpus], count: int, batch: int, steps: int) -> list[TaskData]:
    """Return ``count`` tasks, the corpora taken in turn, with ``batch`` rows a step each.

    Tasks on one corpus share its rows out: at the same total of rows a step, any number of tasks sees the same rows.
    The first step has one row a task: it makes the memory and the optimizer's state, and is not timed.
    """
    parts = []
    for number, corpus in enumerate(corpora):
        tasks = range(number, count, len(corpora))
        if tasks:
            random = np.random.default_rng(number)
            rows = np.stack([random.permutation(ROWS)[: batch * len(tasks)] for _ in range(steps)])
            parts += [_part(corpus, task, rows[:, i * batch : (i + 1) * batch]) for i, task in enumerate(tasks)]
    return [data for _, data in sorted(parts, key=lambda pair: pair[0])]


def _part(corpus: Corpus, number: int, schedule: NDArray[np.int64]) -> tuple[int, TaskData]:
    random = np.random.default_rng(number)
    targets = random.integers(0, corpus.outputs, ROWS) if corpus.outputs > 1 else random.normal(size=ROWS)
    taken = [schedule[0][:1], *schedule]
    data = TaskData(
        Part(called=f"{corpus.name}-{number}", size=corpus.outputs),
        sizes=np.array([len(rows) for rows in taken]),
        weights=np.ones(len(taken)),
        schedules=[np.concatenate(taken)],
        train_tokens=corpus.tokens,
        targets=torch.from_numpy(targets if corpus.outputs > 1 else targets.astype(np.float32)),
        evaluated={},
    )
    return number, data


def minilm() -> tuple[Encoder, EncoderFiles]:
    """Return the packaged MiniLM."""
    encoder = Encoder.parse("minilm")
    return encoder, encoder.locate()


def bert_base(folder: Path) -> tuple[Encoder, EncoderFiles]:
    """Return BERT-base with random weights, its configuration written to a folder: weights do not change the time."""
    from transformers import BertConfig

    BertConfig().save_pretrained(folder)
    encoder = Encoder.parse(f"{folder}[init=random]")
    return encoder, encoder.locate()
