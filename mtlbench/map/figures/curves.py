"""Curves of a map: gains by length of training, and by trials of tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import matplotlib.figure
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from mtlbench.map.cells import Setting, StepRule
from mtlbench.map.figures.figure import MapFigure
from mtlbench.map.figures.panels import columns
from mtlbench.map.layout import value_text
from mtlbench.map.result import Study
from mtlbench.map.selection import Search
from mtlbench.map.tally import NORMALISED, Comparisons, Shown, phrase, plural
from mtlbench.report.figures import style
from mtlbench.report.figures.figure import Figure


@dataclass(frozen=True)
class Pool:
    """A budget curve: step rule and search of the fixed weights, its label and its line."""

    rule: StepRule
    search: Search
    label: str
    style: Any


POOLS: Final = (
    Pool("plain", "coordinate", "fixed weights, coordinate search", "-"),
    Pool("plain", "random", "fixed weights, random search", (0, (5, 1.5))),
    Pool("unit", "coordinate", "with unit-length steps", (0, (3, 1, 1, 1))),
    Pool("log", "coordinate", "on the logarithm of the loss", (0, (1, 1))),
)
MOST_ROWS = 3
"""Most values of the second knob that a figure shows: the smallest, the largest, and one between."""


def lengths(comparisons: Comparisons) -> MapFigure | None:
    """Return gains by length of training, without and with the step rule's control.

    :param comparisons: gains of the map.
    """
    study = comparisons.over("steps")
    against = [spec for spec in ("sum", "step-rules") if study and comparisons.gains(study.name, spec)]
    if study is None or not against:
        return None
    optimizer = "adam" if any(s.optimizer == "adam" for s in study.settings) else study.settings[0].optimizer
    settings = [s for s in study.settings if s.optimizer == optimizer and s.noise_ratio == 1.0]
    ratios = _few(sorted({s.loss_ratio for s in settings}))
    methods = columns(study)
    described = [
        f"at loss ratio {ratio:g} against {phrase(spec)} after {steps} steps: "
        + _listed(comparisons, study, spec, chosen)
        for ratio in ratios
        for spec in against
        for steps, chosen in _ends([s for s in settings if s.loss_ratio == ratio])
    ]
    return MapFigure(
        study.name,
        Figure(
            "map-steps",
            "Gain by length of training, without and with the step rule's control",
            f"Points over {' and over '.join(map(phrase, against))}, with 95 % intervals; {optimizer}. "
            f"{'; '.join(described).capitalize()}.",
            partial(_draw_lengths, comparisons, study, settings, ratios, against, methods),
        ),
        f"Points with 95 % intervals; {optimizer}. What is gained on the left and not on the right is the step rule's.",
    )


def _draw_lengths(
    comparisons: Comparisons,
    study: Study,
    settings: Sequence[Setting],
    ratios: Sequence[float],
    against: Sequence[str],
    methods: Sequence[str],
) -> matplotlib.figure.Figure:
    """Draw a row for each loss ratio and a column for each comparator."""
    names = _by_size(comparisons, study, methods)
    look_of = style.looks(names, NORMALISED, ())
    height = 0.5 + 1.45 * len(ratios) + style.legend_height(names)
    figure, panels = style.sheet(height, len(ratios), len(against), sharex=True, sharey="row")
    for number, panel in enumerate(panels):
        ratio, spec = ratios[number // len(against)], against[number % len(against)]
        places = sorted((s for s in settings if s.loss_ratio == ratio), key=lambda s: s.steps)
        for method in reversed(names):
            gains = comparisons.of(study.name, spec, method)
            _line(panel, [(s.steps, gains[s]) for s in places if s in gains], look_of[method])
        steps = sorted({s.steps for s in settings})
        panel.set_xscale("log")
        panel.axhline(0.0, color=style.INK, linewidth=0.7)
        style.grid(panel)
        panel.set_xticks(steps, list(map(value_text, steps)))
        panel.xaxis.set_minor_locator(NullLocator())
        if number < len(against):
            panel.set_title("over the equal sum" if spec == "sum" else "over its best step rule")
        if number >= len(panels) - len(against):
            panel.set_xlabel("steps")
        if number % len(against) == 0:
            panel.set_ylabel(f"gain, loss ratio {ratio:g}")
    style.legend(figure, _handles(look_of))
    return figure


def budgets(comparisons: Comparisons) -> MapFigure | None:
    """Return gains of tuned fixed weights by trials, beside those of methods at theirs, where losses are most unequal.

    :param comparisons: gains of the map.
    """
    study = comparisons.over("tasks")
    pooled = [c.setting for c in study.cells if c.pools and c.setting.noise_ratio == 1.0] if study else []
    if study is None or not pooled:
        return None
    most = max(setting.loss_ratio for setting in pooled)
    settings = sorted((s for s in pooled if s.loss_ratio == most), key=lambda s: s.tasks)
    described = []
    for setting in settings:
        curve = [Shown(gain) for gain in comparisons.result.budget_curve(study.name, setting)]
        methods = [f"{m} {g.text}" for m, g in _points(comparisons, study, setting).items()]
        described.append(
            f"{plural(setting.tasks, 'task')}: fixed weights {curve[0].text} with 1 trial, {curve[-1].text} with"
            f" {curve[-1].gain.trials}; {', '.join(methods)}"
        )
    return MapFigure(
        study.name,
        Figure(
            "map-trials",
            "Gain by trials of tuning",
            f"Points over the equal sum at loss ratio {most:g} and equal noise. {'. '.join(described)}.",
            partial(_draw_budgets, comparisons, study, settings),
        ),
        f"At loss ratio {most:g} and equal noise. Lines: fixed weights, in the mean over what a search draws; marks:"
        " methods, which tune their learning rate alone.",
    )


def _draw_budgets(comparisons: Comparisons, study: Study, settings: Sequence[Setting]) -> matplotlib.figure.Figure:
    """Draw a panel for each number of tasks."""
    names = _by_size(comparisons, study, columns(study))
    look_of = style.looks(names, NORMALISED, ())
    shown = [pool for pool in POOLS if all(pool.rule in study.cell(setting).pools for setting in settings)]
    labels = [*names, *(pool.label for pool in shown)]
    figure, panels = style.sheet(2.6 + style.legend_height(labels), 1, len(settings), sharey=True)
    for panel, setting in zip(panels, settings, strict=True):
        last = 1
        for pool in shown:
            curve = comparisons.result.budget_curve(study.name, setting, pool.rule, pool.search)
            trials, gains = [gain.trials for gain in curve], [-gain.mean for gain in curve]
            panel.plot(trials, gains, color=style.QUIET, linestyle=pool.style, linewidth=1.3)
            last = max(last, *trials)
        for method, gain in _points(comparisons, study, setting).items():
            _line(panel, [(gain.gain.trials, gain)], look_of[method])
        panel.set_xscale("log")
        panel.axhline(0.0, color=style.INK, linewidth=0.7)
        style.grid(panel)
        ticks = [2**power for power in range(10) if 2**power <= 1.2 * last]
        panel.set_xticks(ticks, list(map(str, ticks)))
        panel.xaxis.set_minor_locator(NullLocator())
        panel.set_title(plural(setting.tasks, "task"))
        panel.set_xlabel("trials")
    panels[0].set_ylabel("gain over the equal sum")
    pools = [Line2D([], [], color=style.QUIET, linestyle=pool.style, label=pool.label) for pool in shown]
    style.legend(figure, [*pools, *_handles(look_of, lines=False)])
    return figure


def _line(panel: Axes, gains: Sequence[tuple[float, Shown]], look: style.Look) -> None:
    """Draw gains with their intervals."""
    for x, gain in gains:
        if gain.ends and look.named:
            panel.plot([x, x], gain.ends, color=look.colour, linewidth=0.8, alpha=0.55)
    panel.plot(
        [x for x, _ in gains],
        [gain.mean for _, gain in gains],
        color=look.colour,
        marker=look.marker,
        linestyle=look.style,
        linewidth=1.3,
        markersize=4.5 if look.named else 3.0,
        zorder=3 if look.named else 1,
    )


def _handles(look_of: Mapping[str, style.Look], *, lines: bool = True) -> list[Line2D]:
    """Return the legend's entries for methods; those that share the grey look have one in common."""
    handles = [
        Line2D(
            [],
            [],
            color=look.colour,
            marker=look.marker,
            linestyle=look.style if lines else "none",
            label=style.short(name),
            markersize=4.5,
        )
        for name, look in look_of.items()
        if look.named
    ]
    grey = [name for name, look in look_of.items() if not look.named]
    if grey:
        label = grey[0] if len(grey) == 1 else f"{len(grey)} other methods"
        handles.append(Line2D([], [], color=style.LINE, marker=".", linestyle="-" if lines else "none", label=label))
    return handles


def _by_size(comparisons: Comparisons, study: Study, methods: Sequence[str]) -> list[str]:
    """Return methods by their largest gain or loss, the largest first: those that get a colour; then the control."""

    def size(method: str) -> float:
        return max((abs(g.mean) for g in comparisons.of(study.name, "sum", method).values()), default=0.0)

    return sorted(methods, key=lambda method: (method != NORMALISED, -size(method)))


def _points(comparisons: Comparisons, study: Study, setting: Setting) -> dict[str, Shown]:
    """Return the gain over the equal sum of every method in one cell."""
    found = {method: comparisons.of(study.name, "sum", method).get(setting) for method in columns(study)}
    return {method: gain for method, gain in found.items() if gain is not None}


def _listed(comparisons: Comparisons, study: Study, spec: str, setting: Setting) -> str:
    gains = {method: comparisons.of(study.name, spec, method).get(setting) for method in columns(study)}
    return ", ".join(f"{method} {gain.text}" for method, gain in gains.items() if gain is not None)


def _ends(settings: Sequence[Setting]) -> list[tuple[int, Setting]]:
    """Return the shortest and the longest training."""
    ranked = sorted(settings, key=lambda setting: setting.steps)
    return [(setting.steps, setting) for setting in dict.fromkeys([ranked[0], ranked[-1]])]


def _few(values: Sequence[float]) -> list[float]:
    """Return the smallest, the largest, and as many between as :data:`MOST_ROWS` allows."""
    if len(values) <= MOST_ROWS:
        return list(values)
    return [values[round(place * (len(values) - 1) / (MOST_ROWS - 1))] for place in range(MOST_ROWS)]
