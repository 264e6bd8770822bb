"""The two maps: one for three minutes of two cores, and the one whose results are committed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from mtlbench.errors import unknown
from mtlbench.map.cells import Optimizer, Setting, StepRule
from mtlbench.map.design import Plan, grid

Floats = Sequence[float]

SUMS = ("sum", "unit-step-sum", "log-sum")
"""The equal sum with each step rule."""
EVERY = (
    *SUMS,
    *("unit-gradients", "pcgrad", "cagrad", "mgda", "nash-mtl", "imtl-g", "aligned-mtl"),
    *("gradnorm", "famo", "uw", "si"),
)
"""The methods of the full map."""
SOME = (*SUMS, "unit-gradients", "pcgrad", "cagrad", "mgda", "nash-mtl", "famo", "uw")
"""The methods of the quick map."""
BASE = Setting()
TIGHT = Setting(width=2, relatedness=0.0, rows=256, steps=300)
"""A bottleneck in which the tasks' gradients conflict, for the three conditions of PCGrad's theorem."""


@dataclass(frozen=True)
class Preset:
    """A map to be trained.

    :param name: ``"quick"`` or ``"full"``.
    :param seeds: how many seeds, unless the user says otherwise.
    :param plans: its studies.
    """

    name: str
    seeds: int
    plans: tuple[Plan, ...]

    def chosen(self, names: Sequence[str] | None) -> list[Plan]:
        """Return some studies.

        :param names: their names; ``None``: all.
        :raises UsageError: for an unknown name.
        """
        plans = {plan.name: plan for plan in self.plans}
        for name in names or ():
            if name not in plans:
                raise unknown("study", name, plans)
        return [plan for plan in self.plans if names is None or plan.name in names]


def preset(name: str) -> Preset:
    """Return a preset.

    :param name: ``"quick"`` or ``"full"``.
    :raises UsageError: for another name.
    """
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    return PRESETS[name]


def _quick() -> Preset:
    few = (*SUMS, "unit-gradients", "pcgrad", "mgda", "nash-mtl")
    return Preset(
        "quick",
        8,
        (
            _loss_noise((0.03, 0.3, 1.0, 3.0, 30.0), (1.0, 5.0, 25.0), methods=SOME, pools=("plain",), line=6),
            _steps((200, 800, 2400), (1.0, 10.0), ("adam",), methods=(*SUMS, "unit-gradients", "nash-mtl", "uw")),
            _width_relatedness((1, 2, 8), (0.0, 1.0), steps=400, methods=few),
            _trials((2, 4), ((30.0, 1.0),), steps=600, methods=few, pools=("plain",)),
            _rows_relatedness((32, 256, 1024), (0.0, 0.5, 1.0), steps=300),
            _three_conditions((8, 256), ("sgd",), methods=("sum", "unit-gradients", "pcgrad")),
        ),
    )


def _full() -> Preset:
    every_rule: tuple[StepRule, ...] = ("plain", "unit", "log")
    losses, noises = (0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0), (1.0, 3.0, 9.0, 27.0)
    corners = ((1.0, 1.0), (30.0, 1.0), (1.0, 27.0), (0.03, 27.0))
    return Preset(
        "full",
        20,
        (
            _loss_noise(losses, noises, methods=EVERY, pools=every_rule, line=12),
            _steps((200, 400, 800, 1200, 2400), (1.0, 10.0, 30.0), ("adam", "sgd"), methods=EVERY),
            _width_relatedness((1, 2, 4, 8, 16), (0.0, 0.25, 0.5, 0.75, 1.0), steps=1200, methods=SOME),
            _trials((2, 4, 8), corners, steps=1200, methods=EVERY, pools=every_rule),
            _rows_relatedness((32, 64, 128, 256, 1024), (0.0, 0.25, 0.5, 0.75, 1.0), steps=1200),
            _three_conditions((8, 32, 256), ("sgd", "adam"), methods=(*SUMS, "unit-gradients", "pcgrad", "mgda")),
        ),
    )


def _loss_noise(losses: Floats, noises: Floats, **rest: Any) -> Plan:
    settings = grid(BASE, loss_ratio=losses, noise_ratio=noises)
    title = "Loss scale and label noise of the last task over the first"
    return Plan("loss-noise", title, ("loss_ratio", "noise_ratio"), settings, single_tasks=True, **rest)


def _steps(steps: Sequence[int], losses: Floats, optimizers: Sequence[Optimizer], **rest: Any) -> Plan:
    settings = grid(BASE, steps=steps, loss_ratio=losses, optimizer=optimizers)
    return Plan("steps", "Length of training", ("steps", "loss_ratio", "optimizer"), settings, **rest)


def _width_relatedness(widths: Sequence[int], relatedness: Floats, steps: int, **rest: Any) -> Plan:
    base = replace(BASE, steps=steps)
    settings = grid(base, width=widths, relatedness=relatedness, loss_ratio=(1.0, 10.0))
    title = "Width of the shared layer and relatedness of the tasks"
    return Plan("width-relatedness", title, ("width", "relatedness", "loss_ratio"), settings, **rest)


def _trials(tasks: Sequence[int], corners: Sequence[tuple[float, float]], steps: int, **rest: Any) -> Plan:
    settings = tuple(
        replace(BASE, tasks=count, loss_ratio=loss, noise_ratio=noise, steps=steps)
        for count in tasks
        for loss, noise in corners
    )
    title = "Tuning trials of fixed weights"
    return Plan("trials", title, ("tasks", "loss_ratio", "noise_ratio"), settings, single_tasks=True, **rest)


def _rows_relatedness(rows: Sequence[int], relatedness: Floats, steps: int) -> Plan:
    settings = grid(replace(BASE, steps=steps), rows=rows, relatedness=relatedness)
    title = "Training rows and relatedness: one network for all tasks against one for each"
    return Plan("rows-relatedness", title, ("rows", "relatedness"), settings, ("sum",), single_tasks=True)


def _three_conditions(batches: Sequence[int], optimizers: Sequence[Optimizer], **rest: Any) -> Plan:
    settings = grid(TIGHT, loss_ratio=(1.0, 10.0), conditioning=(1.0, 30.0), batch=batches, optimizer=optimizers)
    title = "Conflicting gradients, with unequal magnitudes, with high curvature, and with both"
    knobs = ("loss_ratio", "conditioning", "batch", "optimizer")
    return Plan("three-conditions", title, knobs, settings, **rest)


PRESETS = {made.name: made for made in (_quick(), _full())}
