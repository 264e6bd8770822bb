"""Curves over training, one panel per task: scores, losses, gradient norms and weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib.figure
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from scipy import stats

from mtlbench.report.figures import style
from mtlbench.report.figures.context import Context
from mtlbench.report.figures.figure import Figure, Unavailable
from mtlbench.report.numbers import number
from mtlbench.report.result import CONFIDENCE

BINS = 40
"""Most points on a line: steps are averaged within bins."""
PANEL = 1.55
"""Height of a panel, in inches."""
BAND = f"Lines: means over seeds; bands: {CONFIDENCE:.0%} intervals (Student's t)."


@dataclass(frozen=True)
class CurvePanel:
    """The panel of one task."""

    task: str
    label: str
    floor: float | None = None


def scores_by_step(context: Context) -> Figure:
    """Draw the primary metrics over steps.

    :param context: the group's data.
    :raises Unavailable: when there are fewer than two evaluations.
    """
    frame = _scores(context, "Scores over steps").assign(x=lambda f: f["step"])
    return _figure(context, "scores-by-step", "Scores over steps", "step", frame, _metrics(context), _last)


def scores_by_time(context: Context) -> Figure:
    """Draw the primary metrics over seconds, each evaluation at its mean time over the seeds.

    :param context: the group's data.
    :raises Unavailable: when there are fewer than two evaluations, or no history has their times.
    """
    frame = _scores(context, "Scores over time").dropna(subset=["seconds"])
    if frame.empty:
        raise Unavailable("Scores over time: no history has the time of its evaluations")
    frame = frame.assign(x=frame.groupby(["method", "step"], observed=True)["seconds"].transform("mean"))
    return _figure(
        context, "scores-by-time", "Scores over time", "seconds of training", frame, _metrics(context), _last
    )


def losses(context: Context) -> Figure:
    """Draw the training losses over steps.

    :param context: the group's data.
    :raises Unavailable: when no history has losses.
    """
    frame = context.traces.steps.dropna(subset=["loss"]).rename(columns={"loss": "value"})
    if frame.empty:
        raise Unavailable("Training losses: no history has any")
    return _figure(
        context, "losses", "Training losses", "step", _binned(frame), _tasks(context, frame, "loss ↓"), _last
    )


def norm_ratios(context: Context) -> Figure:
    """Draw each task's gradient norm, divided by the mean norm of all tasks at the same step.

    :param context: the group's data.
    :raises Unavailable: when no joint method's history has gradient norms of two tasks.
    """
    frame = context.traces.steps.dropna(subset=["norm"])
    frame = frame[frame["method"].isin(context.joint)]
    total = frame.groupby(["method", "seed", "step"], observed=True)["norm"].transform("mean")
    frame = frame.assign(value=frame["norm"] / total.where(total > 0)).dropna(subset=["value"])
    if frame.empty or frame["task"].nunique() < 2:
        raise Unavailable("Gradient norm ratios: no joint method's history has gradient norms of two tasks")
    return _figure(
        context, "norm-ratios", "Gradient norm over the tasks' mean norm", "step",
        _binned(frame), _tasks(context, frame, "norm ratio"), _mean, even=1.0,
    )  # fmt: skip


def weights(context: Context) -> Figure:
    """Draw each task's weight as a share of the sum of absolute weights.

    :param context: the group's data.
    :raises Unavailable: when no joint method's history has weights of two tasks.
    """
    frame = context.traces.steps.dropna(subset=["weight"])
    frame = frame[frame["method"].isin(context.joint)]
    total = (
        frame["weight"]
        .abs()
        .groupby([frame[name] for name in ("method", "seed", "step")], observed=True)
        .transform("sum")
    )
    frame = frame.assign(value=frame["weight"] / total.where(total > 0)).dropna(subset=["value"])
    if frame.empty or frame["task"].nunique() < 2:
        raise Unavailable("Task weights: no joint method's history has weights of two tasks")
    even = 1.0 / frame["task"].nunique()
    title = "Weights that methods would give" if context.group.watched else "Task weights"
    return _figure(
        context, "weights", f"{title}, as shares of their sum", "step",
        _binned(frame), _tasks(context, frame, "weight share"), _mean, even=even,
    )  # fmt: skip


def band(frame: pd.DataFrame) -> pd.DataFrame:
    """Return mean and t interval of a method's values over seeds.

    :param frame: ``x`` and ``value``, one row per seed and x.
    :returns: a row per x with ``mean``, ``low``, ``high`` and ``n``; the interval is NaN for a single seed.
    """
    grouped = frame.groupby("x")["value"]
    n, mean, sd = grouped.count(), grouped.mean(), grouped.std()
    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, np.maximum(n - 1, 1))
    half = quantile * sd / np.sqrt(n)
    return pd.DataFrame({"mean": mean, "low": mean - half, "high": mean + half, "n": n}).reset_index()


def _scores(context: Context, title: str) -> pd.DataFrame:
    """Return the evaluations of the primary metrics."""
    primary = {task.name: task.primary for task in context.group.tasks if task.metrics}
    frame = context.traces.evaluations
    frame = frame[frame["metric"] == frame["task"].map(primary)].rename(columns={"score": "value"})
    if frame.empty:
        raise Unavailable(f"{title}: {context.traces.left_out or 'no history has evaluations'}")
    if frame["step"].nunique() < 2:
        raise Unavailable(f"{title}: one evaluation only, at step {frame['step'].iloc[0]}")
    return frame


def _binned(frame: pd.DataFrame) -> pd.DataFrame:
    """Average values within bins of steps, separately by seed; x is the last step of a bin."""
    width = -(-int(frame["step"].max()) // BINS)
    x = -(-frame["step"].astype(int) // width) * width
    keys = [frame["method"], frame["seed"], frame["task"], x.clip(upper=int(frame["step"].max())).rename("x")]
    return frame["value"].groupby(keys, observed=True).mean().reset_index()


def _metrics(context: Context) -> list[CurvePanel]:
    """Return a panel with the floor for every task's primary metric."""
    floors = [(task, task.floor(task.primary)) for task in context.group.tasks if task.metrics]
    return [CurvePanel(t.name, f"{style.short(t.name)} {t.primary} ↑", f.value if f else None) for t, f in floors]


def _tasks(context: Context, frame: pd.DataFrame, label: str) -> list[CurvePanel]:
    """Return a panel for every task that has values."""
    present = set(frame["task"])
    return [CurvePanel(t.name, f"{style.short(t.name)} {label}") for t in context.group.tasks if t.name in present]


def _last(values: pd.DataFrame) -> tuple[str, float]:
    """Return the mean over seeds at the last x, with its words."""
    return "at the end", float(values.loc[values["x"] == values["x"].max(), "value"].mean())


def _mean(values: pd.DataFrame) -> tuple[str, float]:
    """Return the mean over seeds and x, with its words."""
    return "on average", float(values["value"].mean())


def _figure(
    context: Context,
    name: str,
    title: str,
    axis: str,
    frame: pd.DataFrame,
    panels: list[CurvePanel],
    summary: Callable[[pd.DataFrame], tuple[str, float]],
    even: float | None = None,
) -> Figure:
    """Return one of the figures above, with its description.

    :param axis: label of the horizontal axis.
    :param frame: ``method``, ``seed``, ``task``, ``x`` and ``value``.
    :param summary: returns words and one number for a method's values, for the description.
    :param even: value at which all tasks are equal, drawn as a line.
    """
    panels = [panel for panel in panels if (frame["task"] == panel.task).any()]
    methods = [method for method in context.ranking if (frame["method"] == method).any()]
    words = [_described(context, frame, panel, methods, summary) for panel in panels]
    seeds = frame.groupby("method", observed=True)["seed"].nunique()
    kind = (
        BAND if seeds.max() > 1 else "Lines: the watched run." if context.group.watched else "Lines: the single seed."
    )
    dotted = " Dotted: the trivial floor, where it is near." if any(panel.floor is not None for panel in panels) else ""
    dotted += f" Dotted: {number(even, 2)}, where all tasks are alike." if even is not None else ""
    return Figure(
        name=name,
        title=title,
        description=f"{kind}{dotted} {' '.join(words)}{context.unnamed(methods)}",
        draw=lambda: _draw(context, axis, frame, panels, methods, even),
    )


def _described(context: Context, frame: pd.DataFrame, panel: CurvePanel, methods: list[str], summary: Any) -> str:
    """Return the sentence on the methods with the lowest and the highest value on one task."""
    here = frame[frame["task"] == panel.task]
    when, numbers = "", {}
    for method in methods:
        values = here[here["method"] == method]
        if not values.empty:
            when, numbers[method] = summary(values)
    lowest, highest = min(numbers, key=lambda m: numbers[m]), max(numbers, key=lambda m: numbers[m])
    low, high = (f"{context.labels[method]} {number(numbers[method])}" for method in (lowest, highest))
    return f"{panel.label}, {when}: {low}." if lowest == highest else f"{panel.label}, {when}: from {low} to {high}."


def _draw(
    context: Context,
    axis: str,
    frame: pd.DataFrame,
    panels: list[CurvePanel],
    methods: list[str],
    even: float | None,
) -> matplotlib.figure.Figure:
    """Draw a panel per task and the legend."""
    looks = context.looks()
    named = [method for method in methods if looks[method].named]
    height = len(panels) * PANEL + 0.25 + style.legend_height([context.named(method) for method in named])
    figure, axes = style.sheet(height, len(panels), sharex=True)
    for panel, axes_of in zip(panels, axes, strict=True):
        axes_of.set_title(panel.label)
        style.grid(axes_of)
        for method in methods:
            here = frame[(frame["method"] == method) & (frame["task"] == panel.task)]
            if not here.empty:
                _line(axes_of, band(here), looks[method])
        _level(axes_of, panel, even)
        if frame["value"].min() >= 0 > axes_of.get_ylim()[0]:
            axes_of.set_ylim(bottom=0)  # a t interval may go below zero; shares, norms and losses do not
    axes[-1].set_xlabel(axis)
    style.legend(figure, [_entry(context.named(method), looks[method]) for method in named])
    return figure


def _level(axes: Axes, panel: CurvePanel, even: float | None) -> None:
    """Draw the floor, or the value at which tasks are equal; a level far below would flatten the lines: print it."""
    level = panel.floor if panel.floor is not None else even
    if level is None:
        return
    low, high = axes.get_ylim()
    if level < low - (high - low):
        axes.set_title(f"{panel.label} (floor {number(level, 2)}, below)")
        return
    axes.axhline(level, color=style.QUIET, linewidth=1.0, linestyle=":")


def _line(panel: Axes, values: pd.DataFrame, look: style.Look) -> None:
    """Draw the mean and band of one method."""
    order = 2 if look.named else 1
    panel.plot(
        values["x"], values["mean"], color=look.colour, linestyle=look.style, linewidth=1.4, zorder=order + 1,
        marker=look.marker, markersize=4, markevery=max(1, len(values) // 5),
    )  # fmt: skip
    if look.named and values["low"].notna().any():
        panel.fill_between(values["x"], values["low"], values["high"], color=look.colour, alpha=0.13, linewidth=0)


def _entry(name: str, look: style.Look) -> Line2D:
    """Return the legend entry of one method."""
    return Line2D(
        [], [], color=look.colour, linestyle=look.style, marker=look.marker, markersize=4.5, linewidth=1.4,
        label=name,
    )  # fmt: skip
