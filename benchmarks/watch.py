"""Time a training with a watch relative to the same training without one: ``python -m benchmarks.watch``.

Two copies of a model train in turns of EVERY steps, so that whatever slows the machine slows both. Each task has a
batch of its own (``separate``: K forward passes), or all tasks read one batch (``shared``: one forward pass, and every
task gradient goes back through all of it). It takes about two minutes of one core. ``--short`` is a trial of the
script itself.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import dataclass
from typing import Any

import torch

import mtlbench

WARM_UP = 2
"""Steps of the first turn, which is not counted."""


class Model(torch.nn.Module):
    """A BERT with random weights, and a linear head per task."""

    def __init__(self, layers: int, width: int, tasks: int, words: int) -> None:
        super().__init__()
        from transformers import BertConfig, BertModel

        config = BertConfig(
            vocab_size=words,
            num_hidden_layers=layers,
            hidden_size=width,
            num_attention_heads=width // 32,
            intermediate_size=4 * width,
        )
        self.encoder = BertModel(config, add_pooling_layer=False)
        self.heads = torch.nn.ModuleList(torch.nn.Linear(width, 2) for _ in range(tasks))

    def losses(self, batches: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return a loss per task.

        :param batches: token numbers, one batch per task or one for all.
        """
        features = [self.encoder(input_ids=ids).last_hidden_state[:, 0] for ids in batches]
        features = features * len(self.heads) if len(batches) == 1 else features
        return [
            torch.nn.functional.cross_entropy(
                head(feature), torch.zeros(len(feature), dtype=torch.long).to(feature.device)
            )
            for head, feature in zip(self.heads, features, strict=True)
        ]


@dataclass
class Training:
    """One of the two trainings, and the seconds of its turns."""

    model: Model
    optimizer: torch.optim.Optimizer
    watch: mtlbench.Watch | None
    seconds: list[float]

    def turn(self, steps: list[list[torch.Tensor]]) -> None:
        """Train for some steps, and time them."""
        begun = time.perf_counter()
        for batches in steps:
            losses = self.model.losses(batches)
            if self.watch:
                self.watch(losses)
            self.optimizer.zero_grad()
            torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
        if steps[0][0].device.type == "cuda":
            torch.cuda.synchronize()
        self.seconds.append(time.perf_counter() - begun)


def compare(options: argparse.Namespace, shared: bool, folder: str) -> dict[str, Any]:
    """Return the ratios of the turns with a watch to the turns beside them without one.

    :param options: of the command line.
    :param shared: whether all tasks read one batch.
    :param folder: results folder of the watch.
    """
    trainings = []
    for watched in (False, True):
        torch.manual_seed(0)
        model = Model(options.layers, options.width, options.tasks, options.words).to(options.device)
        names = [f"task{task}" for task in range(options.tasks)]
        made = {
            "every": options.every,
            "methods": options.methods.split(","),
            "name": "shared" if shared else "separate",
        }
        watch = mtlbench.Watch(model.encoder, names, folder, **made) if watched else None
        trainings.append(Training(model, torch.optim.AdamW(model.parameters(), lr=1e-5), watch, []))
    size = (options.rows, options.tokens)
    for turn in range(options.turns + 1):
        count = 1 if shared else options.tasks
        steps = [
            [torch.randint(5, options.words, size).to(options.device) for _ in range(count)]
            for _ in range(options.every if turn else WARM_UP)
        ]
        for training in trainings if turn % 2 == 0 else reversed(trainings):
            training.turn(steps)
    plain, watched_turns = (training.seconds[1:] for training in trainings)
    if trainings[1].watch:
        trainings[1].watch.close()
    ratios = [with_watch / without for with_watch, without in zip(watched_turns, plain, strict=True)]
    return {
        "graphs": "shared" if shared else "separate",
        "ratio": statistics.median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
        "seconds per step": statistics.median(plain) / options.every,
        "expected": 1 + (options.tasks if shared else 1) * 2 / 3 / options.every,
    }


def main() -> None:
    """Parse the command line, and print a line of JSON for each form of training."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in {
        "tasks": 3,
        "every": 20,
        "turns": 5,
        "layers": 3,
        "width": 384,
        "rows": 8,
        "tokens": 32,
        "words": 8000,
        "threads": 1,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--methods", default="pcgrad,cagrad")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--short", action="store_true")
    options = parser.parse_args()
    if options.short:
        short = {"layers": 2, "width": 64, "rows": 2, "tokens": 16, "words": 200, "turns": 2, "every": 5}
        vars(options).update(short)
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        for shared in (False, True):
            print(json.dumps(compare(options, shared, folder)))


if __name__ == "__main__":
    main()
