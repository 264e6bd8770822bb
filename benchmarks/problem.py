"""Steps of the suite ``digits``: a session beside a plain loop of torch and TorchJD, in turn, on one thread.

    python -m benchmarks.problem --write

It takes about a minute, on an idle machine, and writes ``benchmarks/problem.md``.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from torchjd.aggregation import PCGrad
from torchjd.autojac import jac_to_grad, mtl_backward

from mtlbench.engine.library import get_method
from mtlbench.engine.processes import ALONE
from mtlbench.host.provenance import environment
from mtlbench.plan.cells import Workload
from mtlbench.plugins.registry import load_registry
from mtlbench.problem.session import ProblemSession
from mtlbench.recipe.suite import load_suite
from mtlbench.training.history_rows import step_row

PAGE = Path(__file__).with_suffix(".md")
STEPS = 50
"""Steps of a contender's turn."""


def workload() -> Workload:
    """Return the suite, with more steps than any contender takes."""
    return Workload.load("digits", load_suite("digits").recipe({"steps": 100_000}), load_registry())


class Plain:
    """The plain sum in a loop of torch alone: batch, forward, one backward pass, fused AdamW.

    :param suite: problem and recipe.
    """

    def __init__(self, suite: Workload) -> None:
        problem: Any = suite.problem
        torch.manual_seed(0)
        self.net: Any = problem.problem.model(problem.tasks)
        data = problem.problem.load(None).train
        self.inputs = torch.as_tensor(data.inputs)
        self.labels = {task.key: torch.as_tensor(data.labels[task.key]) for task in suite.tasks}
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=suite.recipe.lr, fused=True)
        self.batch, self.random = suite.recipe.batch_size, np.random.default_rng(0)
        self.losses: list[list[float]] = []

    def step(self, step: int) -> None:
        """Take one optimizer step."""
        rows = torch.from_numpy(self.random.integers(0, len(self.inputs), self.batch))
        self.optimizer.zero_grad()
        features = self.net.trunk(self.inputs[rows])
        losses = [
            functional.cross_entropy(self.net.heads[name](features), labels[rows])
            for name, labels in self.labels.items()
        ]
        self.backward(losses, features)
        self.optimizer.step()
        self.losses.append([float(loss.detach()) for loss in losses])

    def backward(self, losses: list[torch.Tensor], features: torch.Tensor) -> None:
        """Fill ``.grad``."""
        sum(losses[1:], losses[0]).backward()  # type: ignore[no-untyped-call]


class TorchJD(Plain):
    """PCGrad by TorchJD in the same loop."""

    def __init__(self, suite: Workload) -> None:
        super().__init__(suite)
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

    :param suite: problem and recipe.
    :param name: the method.
    """

    def __init__(self, suite: Workload, name: str) -> None:
        self.method, self.every = get_method(name), suite.recipe.measure_every
        session = suite.problem.prepare(suite.recipe, self.method, 0).session(range(len(suite.tasks)), ALONE)
        assert isinstance(session, ProblemSession)
        self.session = session
        parameters = [*self.session.shared, *self.session.heads]
        self.optimizer = torch.optim.AdamW(parameters, lr=suite.recipe.lr, fused=True)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: 1.0)
        self.history: list[Any] = []

    def step(self, step: int) -> None:
        """Take one optimizer step."""
        begun, measure = time.perf_counter(), (step + 1) % self.every == 0
        result = self.session.step(self.method, step, measure=measure)
        self.optimizer.step()
        self.schedule.step()
        self.session.ahead(step + 1)
        spent = time.perf_counter() - begun
        self.history.append(step_row(step + 1, result, self.session.tasks, self.session.factors(step), spent, measure))


CONTENDERS: dict[str, Callable[[Workload], Any]] = {
    "plain loop, sum": Plain,
    "session, sum": lambda suite: Ours(suite, "sum"),
    "session, PCGrad": lambda suite: Ours(suite, "pcgrad"),
    "TorchJD mtl_backward, PCGrad": TorchJD,
}


def measure(rounds: int) -> dict[str, list[float]]:
    """Let the contenders take turns, another one first in every round.

    :param rounds: turns of each.
    :returns: seconds a step, by contender and round.
    """
    suite = workload()
    contenders = {name: make(suite) for name, make in CONTENDERS.items()}
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
    lines = [
        "# Steps of a small problem",
        "",
        "`make bench-problem`: the suite `digits`, two tasks on one batch, one thread. Contenders take turns of",
        f"{STEPS} steps in one process; medians over turns. A session's step has all that the training loop does:",
        "rows, forward, backward, method, fused AdamW, schedule, a history row, and every tenth step the norms and",
        "cosines of all task gradients. The other loops have rows, forward, backward and fused AdamW.",
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
