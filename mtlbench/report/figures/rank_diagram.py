"""Critical difference diagram (Demšar 2006) over seeds. Tasks never serve as blocks: a suite has only three."""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib.figure

from mtlbench.report.figures import style
from mtlbench.report.figures.context import Context, listed
from mtlbench.report.figures.figure import Figure, Unavailable
from mtlbench.report.numbers import number, p_value
from mtlbench.report.result import CONFIDENCE

FEWEST_METHODS, FEWEST_SEEDS = 3, 5
ROW, LOW_ROW = 0.22, 0.15
"""Height of a row of names, in inches; the second one, of many methods."""
MOST_NAMES = 12
"""Most methods of a diagram with names on both sides: lines to more names run into one another."""


@dataclass(frozen=True)
class Ranks:
    """Mean ranks over seeds, the best first, with Nemenyi's critical difference."""

    methods: tuple[str, ...]
    ranks: tuple[float, ...]
    seeds: int
    critical: float
    p: float
    """p of Friedman's test."""
    score: str
    """Name of the number that is ranked."""

    @property
    def alike(self) -> list[tuple[int, int]]:
        """First and last index of each maximal run of methods within the critical difference."""
        ends = [
            max(j for j, rank in enumerate(self.ranks) if rank - self.ranks[i] < self.critical)
            for i in range(len(self.ranks))
        ]
        return [(i, end) for i, end in enumerate(ends) if end > i and (i == 0 or end > ends[i - 1])]


def ranking(context: Context) -> Figure:
    """Draw the diagram of the joint methods.

    :param context: the group's data.
    :raises Unavailable: with fewer than three methods or five seeds.
    """
    chart = ranks(context)
    by_method = listed(
        [f"{context.labels[m]} {number(rank, 2)}" for m, rank in zip(chart.methods, chart.ranks, strict=True)]
    )
    bars, joined = "A bar joins methods whose ranks differ by less than", "joined"
    if len(chart.methods) > MOST_NAMES:
        bars, joined = "Methods whose bars do not overlap differ by more than", "overlap"
    return Figure(
        name="ranks",
        title=f"Mean ranks over {chart.seeds} seeds",
        description=(
            f"Ranks by {chart.score} within each seed, 1 is best, mean over seeds: {by_method}. {bars} "
            f"Nemenyi's critical difference, {number(chart.critical, 2)}, at {1 - CONFIDENCE:.2f}; {joined} does not "
            f"mean alike. Friedman's p {p_value(chart.p)}, by permutation. "
            "Blocks are seeds, not tasks."
        ),
        draw=lambda: _draw_rows(context, chart) if len(chart.methods) > MOST_NAMES else _draw(context, chart),
    )


def ranks(context: Context) -> Ranks:
    """Return the report's ranking over seeds, the best method first.

    :param context: the group's data.
    :raises Unavailable: with fewer than three methods or five seeds.
    """
    title = "Critical difference diagram"
    finished = {method for method, _ in context.cells.done}
    methods = [method for method in context.joint if method in finished]
    if len(methods) < FEWEST_METHODS:
        raise Unavailable(f"{title}: it takes {FEWEST_METHODS} joint methods, and {len(methods)} have scores")
    ranked = context.group.rankings[0] if context.group.rankings else None
    if ranked is None or ranked.seeds < FEWEST_SEEDS:
        few = f"{ranked.seeds}" if ranked else "fewer than 2"
        raise Unavailable(
            f"{title}: it takes {FEWEST_SEEDS} seeds that every method finished, and there are {few}; "
            "tasks do not stand in for seeds"
        )
    order = sorted(range(len(ranked.methods)), key=lambda i: (ranked.mean_ranks[i], ranked.methods[i]))
    return Ranks(
        methods=tuple(ranked.methods[i] for i in order),
        ranks=tuple(ranked.mean_ranks[i] for i in order),
        seeds=ranked.seeds,
        critical=ranked.critical_difference,
        p=ranked.p,
        score=ranked.score,
    )


def _draw_rows(context: Context, chart: Ranks) -> matplotlib.figure.Figure:
    """Draw a row per method: the mean rank, and half the critical difference to each side."""
    figure, (panel,) = style.sheet(0.6 + LOW_ROW * len(chart.methods))
    style.grid(panel, "x")
    for row, rank in enumerate(chart.ranks):
        half = chart.critical / 2
        panel.plot([rank - half, rank + half], [row, row], color=style.PALETTE[0], linewidth=2.0, alpha=0.5)
        panel.plot(rank, row, "D", color=style.INK, markersize=3)
    names = [f"{context.named(m)} {number(r, 2)}" for m, r in zip(chart.methods, chart.ranks, strict=True)]
    panel.set_yticks(range(len(names)), names, fontsize=7.0)
    panel.set_ylim(len(names) - 0.4, -0.6)
    panel.set_xlabel("mean rank ←")
    panel.spines["left"].set_visible(False)
    panel.tick_params(axis="y", length=0)
    return figure


def _draw(context: Context, chart: Ranks) -> matplotlib.figure.Figure:
    """Draw the axis on top, the names on both sides and the bars in between."""
    k = len(chart.methods)
    left = -(-k // 2)
    bars = chart.alike
    depth = 0.5 + 0.35 * len(bars)
    rows = depth + max(left, k - left)
    figure, (panel,) = style.sheet(0.75 + ROW * rows)
    margin = 0.55 * (k - 1)  # for the names
    panel.set_xlim(1 - margin, k + margin)
    panel.set_ylim(rows, -1.9)
    panel.axis("off")
    panel.plot([1, k], [0, 0], color=style.INK, linewidth=1.2)
    for place in range(1, k + 1, 1 if k <= 12 else 5):
        panel.plot([place, place], [0, -0.25], color=style.INK, linewidth=1.0)
        panel.text(place, -0.35, str(place), ha="center", va="bottom", fontsize=8.5)
    panel.plot([1, 1 + min(chart.critical, k - 1)], [-1.45, -1.45], color=style.QUIET, linewidth=2.0)
    cut = "" if chart.critical <= k - 1 else "+"
    panel.text(1, -1.55, f"critical difference {number(chart.critical, 2)}{cut}", ha="left", va="bottom", fontsize=8.5)
    for index, (first, last) in enumerate(bars):
        y = 0.35 + 0.35 * index
        panel.plot([chart.ranks[first] - 0.04, chart.ranks[last] + 0.04], [y, y], color=style.INK, linewidth=3.0)
    for i, (method, rank) in enumerate(zip(chart.methods, chart.ranks, strict=True)):
        on_left = i < left
        y = depth + (i if on_left else k - 1 - i) + 0.5
        side = 1 - 0.06 * (k - 1) if on_left else k + 0.06 * (k - 1)
        panel.plot([rank, rank, side], [0, y, y], color=style.QUIET, linewidth=0.9)
        words = f"{context.named(method, 14)} {number(rank, 2)}"
        panel.text(side, y, f"{words} " if on_left else f" {words}", ha="right" if on_left else "left", va="center")
    return figure
