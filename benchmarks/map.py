"""Cells of the map: how many a minute on one core, where the time goes, and how far from the ordinary trainer's.

    python -m benchmarks.map --write

It takes about a minute, on an idle machine, and writes ``benchmarks/map.md``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from mtlbench.host.provenance import environment
from mtlbench.map.agreement import disagreements, ordinary_training
from mtlbench.map.cells import Column, Setting
from mtlbench.map.trainer import train

PAGE = Path(__file__).with_suffix(".md")
RATES = {"adam": (0.003, 0.01, 0.03, 0.1), "sgd": (0.01, 0.04, 0.15, 0.5)}
METHODS = (
    "pcgrad", "cagrad", "mgda", "nash-mtl", "imtl-g", "aligned-mtl", "gradnorm", "famo", "uw", "si",
)  # fmt: skip
RATIOS = [10.0 ** (number / 2) for number in range(-6, 7)]
"""Of the fixed weights of two tasks."""
KNOBS: tuple[Mapping[str, Any], ...] = (
    {}, {"loss_ratio": 10.0}, {"loss_ratio": 100.0}, {"noise_ratio": 5.0}, {"noise_ratio": 25.0}, {"speed_ratio": 4.0},
    {"relatedness": 0.0}, {"conditioning": 30.0}, {"rows": 64}, {"width": 2}, {"width": 4}, {"width": 16},
)  # fmt: skip
"""The twelve settings of the screen: the default, and one knob turned in each of the others."""
STEPS = 400


@dataclass(frozen=True)
class Run:
    """One measurement.

    :param name: what was trained.
    :param cells: how many cells.
    :param steps: optimizer steps of each.
    :param seconds: how long it took.
    :param parts: part of the work → its seconds.
    """

    name: str
    cells: int
    steps: int
    seconds: float
    parts: Mapping[str, float]

    @property
    def pace(self) -> float:
        """Cells a minute."""
        return 60.0 * self.cells / self.seconds


def methods_of(optimizer: str) -> list[Column]:
    """Return the methods and the two step rules, at four learning rates each: 52 columns."""
    rates = RATES[optimizer]
    rules = [Column("sum", lr, step_rule=rule) for rule in ("plain", "unit", "log") for lr in rates]
    return rules + [Column(method, lr) for method in METHODS for lr in rates]


def columns_of(optimizer: str) -> list[Column]:
    """Return the 112 columns of the screen: methods and step rules, 13 fixed weights, and single tasks."""
    rates = RATES[optimizer]
    fixed = [Column("sum", lr, (2 * r / (1 + r), 2 / (1 + r))) for r in RATIOS for lr in rates]
    return methods_of(optimizer) + fixed + [Column("sum", lr, single=task) for task in (0, 1) for lr in rates]


def timed(name: str, settings: Sequence[Setting], seeds: int, columns: Sequence[Column]) -> Run:
    """Train and measure, with settings of one shape together."""
    parts: dict[str, float] = {}
    begun = time.perf_counter()
    for _, together in groupby(settings, key=lambda setting: setting.shape):
        trained = train(list(together), range(seeds), columns)
        for part, seconds in trained.seconds.items():
            parts[part] = parts.get(part, 0.0) + seconds
    cells = len(settings) * seeds * len(columns)
    return Run(name, cells, settings[0].steps, time.perf_counter() - begun, parts)


def ordinary(method: str) -> Run:
    """Train one cell with the ordinary trainer in this process; a process of its own would take seconds to start."""
    training = ordinary_training(Setting(steps=STEPS), Column(method, 0.01), 0, "float32")
    begun = time.perf_counter()
    for _ in training.run():
        pass
    return Run(f"the ordinary trainer, {method}", 1, STEPS, time.perf_counter() - begun, {})


def measure(seeds: int) -> list[Run]:
    """Return all measurements.

    :param seeds: of the screen.
    """
    train([Setting(steps=2)], [0], [Column(method, 0.01) for method in ("sum", *METHODS)])  # imports
    few = max(1, seeds // 5)
    screen = [Setting(steps=STEPS, **knobs) for knobs in KNOBS]
    return [
        timed("the screen: 12 settings, 112 columns, Adam", screen, seeds, columns_of("adam")),
        timed("its default setting alone, SGD", [Setting(steps=STEPS, optimizer="sgd")], seeds, columns_of("sgd")),
        timed("4 tasks, the methods alone", [Setting(tasks=4, steps=STEPS)], 2 * few, methods_of("adam")),
        timed("8 tasks, the methods alone", [Setting(tasks=8, steps=STEPS)], 2 * few, methods_of("adam")),
        ordinary("sum"),
        ordinary("nash-mtl"),
    ]


def agreement() -> dict[str, tuple[float, float]]:
    """Return method → how far its networks are apart from the ordinary trainer's, for two and for four tasks."""
    methods = ("sum", *METHODS)
    columns = [Column(method, 0.01) for method in methods]
    two, four = (disagreements(Setting(tasks=k, steps=50, loss_ratio=10.0), 0, columns) for k in (2, 4))
    return {method: (two[number], four[number]) for number, method in enumerate(methods)}


def page(runs: Sequence[Run], distances: Mapping[str, tuple[float, float]]) -> str:
    """Return the page in Markdown.

    :param runs: of :func:`measure`.
    :param distances: of :func:`agreement`.
    """
    machine, screen = environment()["machine"], runs[0]
    total = screen.cells * screen.steps
    lines = [
        "# Cells of the map",
        "",
        "`make bench-map`: cells of `mtlbench map` in tensors, on one thread. A cell is one training run: a setting, a",
        "seed, and a column, which is a method or a control at one learning rate.",
        "",
        f"{machine['system']} {machine['architecture']}, {machine['processor']}, torch {torch.__version__}.",
        "",
        "## Pace",
        "",
        "| what | cells | steps | seconds | cells a minute | µs a cell and step |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for run in runs:
        each = 1e6 * run.seconds / run.cells / run.steps
        lines.append(f"| {run.name} | {run.cells} | {run.steps} | {run.seconds:.1f} | {run.pace:.0f} | {each:.1f} |")
    lines += [
        "",
        "The ordinary trainer runs in one process here; started by `mtlbench run`, a cell takes seconds more.",
        "",
        "## Where the time of the screen goes",
        "",
        "| part | seconds | share | µs a cell and step |",
        "| --- | --- | --- | --- |",
    ]
    for part, seconds in sorted(screen.parts.items(), key=lambda item: -item[1]):
        share = seconds / screen.seconds
        lines.append(f"| {part} | {seconds:.2f} | {100 * share:.0f} % | {1e6 * seconds / total:.2f} |")
    lines += [
        "",
        "## Distance from the ordinary trainer",
        "",
        "‖w − w′‖ / ‖w′‖ of all weights after 50 steps in float64: w of the map's cell, trained beside all others, and",
        "w′ of the cell that `mtlbench run` trains.",
        "",
        "| method | 2 tasks | 4 tasks |",
        "| --- | --- | --- |",
    ]
    lines += [f"| {method} | {two:.0e} | {four:.0e} |" for method, (two, four) in distances.items()]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the page or write it."""
    parser = argparse.ArgumentParser(description="Time cells of the map.")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    text = page(measure(options.seeds), agreement())
    print(text)
    if options.write:
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
