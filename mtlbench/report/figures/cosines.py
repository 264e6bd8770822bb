"""Cosines between task gradients over training: a heat map per method, with a row per pair of tasks."""

from __future__ import annotations

from typing import Any

import matplotlib
import matplotlib.figure
import numpy as np
import pandas as pd
from matplotlib.colors import Normalize

from mtlbench.report.figures import style
from mtlbench.report.figures.context import Context, listed
from mtlbench.report.figures.figure import Figure, Unavailable
from mtlbench.report.numbers import number, signed

BINS = 40
"""Most columns of a heat map: steps are averaged within bins."""
ROW, PANEL = 0.19, 0.34
"""Height of a row, and of a panel without its rows, in inches."""
MOST_PAIRS = 15
"""Most pairs of tasks to show: the most conflicting ones."""
MOST_METHODS = 8
"""Most methods to show, the first ones in the order of the tables."""


def cosines(context: Context) -> Figure:
    """Draw the cosines of every joint method, averaged over seeds within bins of steps.

    :param context: the group's data.
    :raises Unavailable: when no joint method's history has cosines.
    """
    frame = context.traces.cosines
    frame = frame[frame["method"].isin(context.joint)]
    if frame.empty:
        raise Unavailable("Cosines between task gradients: no joint method's history has any")
    pairs = _pairs(context, frame)
    methods = [method for method in context.joint if (frame["method"] == method).any()]
    return Figure(
        name="cosines",
        title="Cosines between task gradients",
        description=_described(context, frame, methods, pairs),
        draw=lambda: _draw(context, frame, methods[:MOST_METHODS], pairs),
    )


def conflict_shares(frame: pd.DataFrame) -> dict[str, float]:
    """Return the share of cosines below zero by method, over steps, pairs and seeds.

    :param frame: cosines with their ``method``, as in :attr:`Traces.cosines`.
    """
    return {
        str(method): float((values < 0).mean()) for method, values in frame.groupby("method", observed=True)["cosine"]
    }


def _pairs(context: Context, frame: pd.DataFrame) -> list[str]:
    """Return the pairs of tasks to show, in the order of the tasks."""
    order = [task.name for task in context.group.tasks]
    ordered = [f"{a}|{b}" for i, a in enumerate(order) for b in order[i + 1 :]]
    conflict = {
        str(pair): float(share)
        for pair, share in (frame["cosine"] < 0).groupby(frame["pair"], observed=True).mean().items()
    }
    shown = sorted((pair for pair in ordered if pair in conflict), key=lambda pair: -conflict[pair])[:MOST_PAIRS]
    return [pair for pair in ordered if pair in shown] or sorted(conflict)[:MOST_PAIRS]


def _described(context: Context, frame: pd.DataFrame, methods: list[str], pairs: list[str]) -> str:
    """Return the description: each method's share of conflict, and the most conflicting pair."""
    shares = conflict_shares(frame)
    share = (frame["cosine"] < 0).groupby(frame["pair"], observed=True).mean()
    mean = frame["cosine"].mean()
    by_method = listed([f"{context.labels[method]} {number(shares[method], 2)}" for method in methods])
    worst = str(share.idxmax())
    words = [
        f"Red: gradients point apart; blue: together; mean over seeds, colours fixed to [-1, 1]. "
        f"Conflict (share below zero): {by_method}. Mean cosine {signed(float(mean), 2)}; most conflict: "
        f"{worst.replace('|', ' and ')}, {number(float(share.max()), 2)}."
    ]
    if frame["pair"].nunique() > len(pairs):
        words.append(f"The {len(pairs)} most conflicting of {frame['pair'].nunique()} pairs are shown.")
    if len(methods) > MOST_METHODS:
        low, high = min(shares.values()), max(shares.values())
        words.append(
            f"The first {MOST_METHODS} of {len(methods)} methods are shown; conflict of all: {number(low, 2)} to "
            f"{number(high, 2)}."
        )
    return " ".join(words)


def _draw(context: Context, frame: pd.DataFrame, methods: list[str], pairs: list[str]) -> matplotlib.figure.Figure:
    """Draw one heat map per method and a common colour bar."""
    shares = conflict_shares(frame)
    last = int(frame["step"].max())
    edges = np.unique(np.linspace(0, last, min(BINS, frame["step"].nunique()) + 1))
    height = len(methods) * (PANEL + ROW * len(pairs)) + 0.95
    figure, panels = style.sheet(height, len(methods), sharex=True, sharey=True)
    colours: Any = matplotlib.colormaps["RdBu"].resampled(20)
    mesh = None
    for panel, method in zip(panels, methods, strict=True):
        mesh = panel.pcolormesh(
            edges, np.arange(len(pairs) + 1), _table(frame[frame["method"] == method], pairs, edges),
            cmap=colours, norm=Normalize(-1.0, 1.0), edgecolors="face", linewidth=1.0,  # no seams
        )  # fmt: skip
        panel.set_title(f"{context.named(method)}: conflict {number(shares[method], 2)}", fontweight="normal")
        panel.set_yticks(np.arange(len(pairs)) + 0.5, [" · ".join(_halves(pair)) for pair in pairs])
        panel.tick_params(length=0, pad=2.5)
        panel.spines[:].set_visible(False)
    panels[0].invert_yaxis()
    panels[-1].set_xlabel("step")
    if mesh is not None:
        scale = figure.colorbar(
            mesh, ax=panels, orientation="horizontal", location="bottom", ticks=[-1, -0.5, 0, 0.5, 1],
            fraction=0.12 / height, aspect=40, pad=0.12 / height,
        )  # fmt: skip
        scale.set_label("cosine")
        scale.outline.set_edgecolor(style.QUIET)
    return figure


def _table(frame: pd.DataFrame, pairs: list[str], edges: np.ndarray[Any, Any]) -> Any:
    """Return mean cosines as a (pairs, bins) array, masked where there are none."""
    bins = np.clip(np.searchsorted(edges, frame["step"], side="left") - 1, 0, len(edges) - 2)
    table = frame["cosine"].groupby([frame["pair"], pd.Series(bins, index=frame.index)], observed=True).mean().unstack()
    return np.ma.masked_invalid(table.reindex(index=pairs, columns=range(len(edges) - 1)).to_numpy(dtype=float))


def _halves(pair: str) -> list[str]:
    """Return the shortened names of a pair's tasks."""
    return [style.short(task, 12) for task in pair.split("|")]
