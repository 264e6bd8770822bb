"""Cells won and lost under every endpoint: does the choice of the metric decide?"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import matplotlib.figure

from mtlbench.map import palette
from mtlbench.map.endpoints import LABELS as ENDPOINT_LABELS
from mtlbench.map.endpoints import Endpoint
from mtlbench.map.figures.figure import MapFigure
from mtlbench.map.figures.panels import columns
from mtlbench.map.statements.statement import grouped
from mtlbench.map.tally import Comparisons, Tally, phrase
from mtlbench.report.figures import style
from mtlbench.report.figures.figure import Figure


def metrics(comparisons: Comparisons) -> MapFigure | None:
    """Return cells won and lost under every endpoint, against the best fixed weights or else the equal sum.

    :param comparisons: gains of the map.
    """
    study = comparisons.headline
    comparator = next((s for s in ("fixed[trials=all]", "sum") if study and comparisons.gains(study.name, s)), None)
    if study is None or comparator is None:
        return None
    methods = columns(study)
    tallies = {endpoint: comparisons.tallies(study.name, comparator, endpoint) for endpoint in study.endpoints}
    described = "; ".join(f"{ENDPOINT_LABELS[e]}: {grouped({m: t[m] for m in methods})}" for e, t in tallies.items())
    return MapFigure(
        study.name,
        Figure(
            "map-metrics",
            f"The choice of the metric: cells won and lost against {phrase(comparator)}",
            f"Of {len(study.cells)} cells, by endpoint. {described}.",
            partial(_draw_metrics, methods, tallies, len(study.cells)),
        ),
        f"Of {len(study.cells)} cells, by endpoint.",
    )


def _draw_metrics(
    methods: Sequence[str], tallies: dict[Endpoint, dict[str, Tally]], cells: int
) -> matplotlib.figure.Figure:
    """Draw bars to the right for cells won and to the left for cells lost, a panel for each endpoint."""
    figure, panels = style.sheet(0.75 + 0.19 * len(methods), 1, len(tallies), sharey=True)
    heights = range(len(methods), 0, -1)
    for panel, (endpoint, found) in zip(panels, tallies.items(), strict=True):
        won, lost = ([getattr(found[method], side) for method in methods] for side in ("won", "lost"))
        panel.barh(heights, won, height=0.66, color=palette.LIGHT[-2])
        panel.barh(heights, [-count for count in lost], height=0.66, color=palette.LIGHT[1])
        for height, right, left in zip(heights, won, lost, strict=True):
            panel.text(right + 0.03 * cells, height, f"{right}", fontsize=6.5, va="center")
            panel.text(-left - 0.03 * cells, height, f"{left}", fontsize=6.5, va="center", ha="right")
        panel.axvline(0.0, color=style.INK, linewidth=0.7)
        panel.set(xlim=(-1.3 * cells, 1.3 * cells), xticks=[])
        panel.set_title(_wrapped(ENDPOINT_LABELS[endpoint]), fontsize=6.5, fontweight="normal", loc="center")
        panel.set_yticks(list(heights), [style.short(method, 16) for method in methods], fontsize=7.0)
        panel.tick_params(length=0.0)
        panel.spines["left"].set_visible(False)
        panel.spines["bottom"].set_visible(False)
    figure.supxlabel("← cells lost    cells won →", fontsize=7.5)
    return figure


def _wrapped(text: str) -> str:
    words = text.split()
    half = (len(words) + 1) // 2
    return " ".join(words[:half]) + "\n" + " ".join(words[half:])
