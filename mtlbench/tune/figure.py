"""The figure of ``mtlbench tune``: the score of each trial by its learning rate."""

from __future__ import annotations

from pathlib import Path

import matplotlib.figure
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from mtlbench.grid.tuned_file import StudyEntry, TrialEntry, Tuned
from mtlbench.report.figures import style
from mtlbench.report.figures.figure import Figure
from mtlbench.report.figures.save import save_figures

HEIGHT = 2.6
"""Height of the panel, in inches."""


def draw(tuned: Tuned, folder: Path) -> Path:
    """Write ``tuning.svg`` to a folder and return its path.

    :raises UsageError: if it cannot be written.
    """
    best = ", ".join(f"{study.chosen.spec} {study.chosen.score:.3f}" for study in tuned.studies if study.chosen)
    figure = Figure(
        "tuning",
        f"Score by learning rate on {tuned.suite}",
        f"{tuned.selection}. Large: a method's best trial. Dotted: the recipe's learning rate. Crosses at the bottom: "
        f"failed. Lines join the trials of methods of which nothing else is tuned. Best: {best}.",
        lambda: _draw(tuned),
    )
    return save_figures([figure], folder, ("svg",))[0]


def _draw(tuned: Tuned) -> matplotlib.figure.Figure:
    names = [study.method for study in tuned.studies]
    looks = style.looks(names, None, ())
    figure, (panel,) = style.sheet(HEIGHT + style.legend_height(names))
    panel.set_xscale("log")
    panel.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    panel.xaxis.set_major_formatter(lambda rate, _: f"{rate:g}")
    panel.xaxis.set_minor_locator(NullLocator())
    panel.axvline(tuned.lr, color=style.QUIET, linewidth=0.8, linestyle=":")
    for study in tuned.studies:
        _draw_study(panel, study, looks[study.method])
    panel.set(xlabel="learning rate", ylabel="score")
    style.grid(panel)
    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, linestyle="none", markersize=4.5, label=style.short(name))
        for name, look in looks.items()
        if look.named
    ]
    style.legend(figure, handles)
    return figure


def _draw_study(panel: Axes, study: StudyEntry, look: style.Look) -> None:
    done = sorted((_rate(trial), trial.score) for trial in study.trials if trial.score is not None)
    joined = look.style if set(study.space) == {"base_lr"} else "none"
    panel.plot(
        [rate for rate, _ in done],
        [score for _, score in done],
        color=look.colour,
        marker=look.marker,
        linestyle=joined,
        linewidth=1.0,
        markersize=4.0,
    )
    if done:
        rate, score = max(done, key=lambda point: point[1])
        panel.plot(rate, score, color=look.colour, marker=look.marker, markersize=8.5)
    failed = [_rate(trial) for trial in study.failed]
    bottom = [0.02] * len(failed)
    panel.plot(failed, bottom, "x", color=look.colour, markersize=5.0, transform=panel.get_xaxis_transform())


def _rate(trial: TrialEntry) -> float:
    return float(trial.values["base_lr"])
