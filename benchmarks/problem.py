"""Steps of a small problem: our session beside a plain loop of torch and TorchJD, contenders in turn, on one thread.

    python -m benchmarks.problem --write

It takes about a minute, on an idle machine, and writes ``benchmarks/problem.md``.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torchjd.aggregation import PCGrad
from torchjd.autojac import jac_to_grad, mtl_backward

from mtlbench.contract.problem import Data, Examples, Problem, Target
from mtlbench.engine.library import get_method
from mtlbench.engine.processes import ALONE
from mtlbench.host.provenance import environment
from mtlbench.problem.loaded import LoadedProblem
from mtlbench.problem.session import ProblemSession
from mtlbench.recipe.suite import Recipe
from mtlbench.training.history_rows import step_row

PAGE = Path(__file__).with_suffix(".md")
ROWS, BATCH, MEASURE_EVERY = 4096, 64, 10
NAMES = ("left", "right")
STEPS = 50
"""Steps of a contender's turn."""


class Net(nn.Module):
    """Two convolutions, a linear layer, and two heads, on canvases of 8 × 16."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(128, 32),
            nn.ReLU(),
        )
        self.heads = nn.ModuleDict({name: nn.Linear(32, 10) for name in NAMES})

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the logits by task."""
        features = self.trunk(x)
        return {name: head(features) for name, head in self.heads.items()}


@dataclass
class Canvases(Problem):
    """Random canvases with two classes each."""

    name = "canvases"

    def targets(self) -> Sequence[Target]:
        return [Target(name, "classification", outputs=10) for name in NAMES]

    def load(self, data_dir: Path | None) -> Data:
        random = np.random.default_rng(0)
        inputs = random.normal(size=(ROWS, 1, 8, 16)).astype(np.float32)
        examples = Examples(inputs, {name: random.integers(0, 10, ROWS) for name in NAMES})
        return Data(train=examples, dev=examples)

    def model(self, targets: Sequence[Target]) -> nn.Module:
        return Net()


class Plain:
    """The plain sum in a loop of torch alone: batch, forward, one backward pass, fused AdamW."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.net, data = Net(), Canvases().load(None).train
        self.inputs = torch.from_numpy(data.inputs)
        self.labels = {name: torch.from_numpy(labels) for name, labels in data.labels.items()}
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=1e-3, fused=True)
        self.random = np.random.default_rng(0)
        self.losses: list[list[float]] = []

    def step(self, step: int) -> None:
        """Take one optimizer step."""
        rows = torch.from_numpy(self.random.integers(0, ROWS, BATCH))
        self.optimizer.zero_grad()
        features = self.net.trunk(self.inputs[rows])
        losses = [
            functional.cross_entropy(head(features), self.labels[name][rows]) for name, head in self.net.heads.items()
        ]
        self.backward(losses, features)
        self.optimizer.step()
        self.losses.append([float(loss.detach()) for loss in losses])

    def backward(self, losses: list[torch.Tensor], features: torch.Tensor) -> None:
        """Fill ``.grad``."""
        sum(losses[1:], losses[0]).backward()  # type: ignore[no-untyped-call]


class TorchJD(Plain):
    """PCGrad by TorchJD in the same loop."""

    def __init__(self) -> None:
        super().__init__()
        self.aggregator = PCGrad()

    def backward(self, losses: list[torch.Tensor], features: torch.Tensor) -> None:
        shared = list(self.net.trunk.parameters())
        mtl_backward(
            losses, features, tasks_params=[list(head.parameters()) for head in self.net.heads.values()],
            shared_params=shared,
        )  # fmt: skip
        jac_to_grad(shared, self.aggregator)


class Ours:
    """A method in a session, with all that the training loop does in a step: schedule, measurements, history.

    :param name: the method.
    """

    def __init__(self, name: str) -> None:
        self.method = get_method(name)
        recipe = Recipe(problem="canvases", steps=100_000, batch_size=BATCH, lr=1e-3)
        loaded = LoadedProblem(Canvases(), recipe)
        self.session: ProblemSession = loaded.prepare(loaded.recipe(recipe), self.method, 0).session([0, 1], ALONE)
        parameters = [*self.session.shared, *self.session.heads]
        self.optimizer = torch.optim.AdamW(parameters, lr=1e-3, fused=True)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: 1.0)
        self.history: list[Any] = []

    def step(self, step: int) -> None:
        """Take one optimizer step."""
        begun, measure = time.perf_counter(), (step + 1) % MEASURE_EVERY == 0
        result = self.session.step(self.method, step, measure=measure)
        self.optimizer.step()
        self.schedule.step()
        self.session.ahead(step + 1)
        spent = time.perf_counter() - begun
        self.history.append(step_row(step + 1, result, self.session.tasks, self.session.factors(step), spent, measure))


CONTENDERS: dict[str, Callable[[], Any]] = {
    "plain loop, sum": Plain,
    "session, sum": lambda: Ours("sum"),
    "session, PCGrad": lambda: Ours("pcgrad"),
    "TorchJD mtl_backward, PCGrad": TorchJD,
}


def measure(rounds: int) -> dict[str, list[float]]:
    """Let the contenders take turns, another one first in every round.

    :param rounds: turns of each.
    :returns: seconds a step, by contender and round.
    """
    contenders = {name: make() for name, make in CONTENDERS.items()}
    done = dict.fromkeys(contenders, 0)
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        names = list(contenders)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            begun = time.perf_counter()
            for step in range(done[name], done[name] + STEPS):
                contenders[name].step(step)
            done[name] += STEPS
            if number:  # the first round warms up
                seconds[name].append((time.perf_counter() - begun) / STEPS)
    return seconds


def page(seconds: dict[str, list[float]]) -> str:
    """Return the page in Markdown.

    :param seconds: of :func:`measure`.
    """
    machine = environment()["machine"]
    base = seconds["plain loop, sum"]
    size = sum(parameter.numel() for parameter in Net().parameters())
    lines = [
        "# Steps of a small problem",
        "",
        f"`python -m benchmarks.problem --write`: a CNN of {size:,} parameters on canvases of 8 × 16, two tasks on one",
        f"batch of {BATCH} rows, one thread. Contenders take turns of {STEPS} steps; medians over turns.",
        "A session's step has all that the training loop does: rows, forward, backward, method, fused AdamW,",
        f"schedule, a history row, and every {MEASURE_EVERY} steps the norms and cosines of all task gradients. The",
        "other loops have rows, forward, backward and fused AdamW.",
        "",
        f"{machine['system']} {machine['architecture']}, {machine['processor']}, torch {torch.__version__}.",
        "",
        "| contender | ms a step | steps a second | of the plain loop |",
        "| --- | --- | --- | --- |",
    ]
    for name, values in seconds.items():
        middle = statistics.median(values)
        ratio = statistics.median(a / b for a, b in zip(values, base, strict=True))
        lines.append(f"| {name} | {1000 * middle:.2f} | {1 / middle:.0f} | {ratio:.2f} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the page or write it."""
    parser = argparse.ArgumentParser(description="Time steps of a small problem.")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    text = page(measure(options.rounds))
    print(text)
    if options.write:
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
