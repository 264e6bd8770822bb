"""How figures look: fonts, and the colours, markers and line styles of the methods."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
import matplotlib.figure
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

WIDTH = 4.4
"""Of every figure, in inches: a column of a paper, and readable on a phone."""
NAME_WIDTH = 24
"""Longer names are shortened in the middle; the description has them whole."""
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#C08A00", "#3A93D0")
"""Okabe and Ito's, which the colour-blind tell apart, without black (the baseline's ink) and yellow (too pale); orange
and sky blue are darker than theirs, which stand out from white paper by less than 3 : 1."""
MARKERS = ("o", "s", "^", "v", "D", "P")
STYLES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (6, 1, 1, 1, 1, 1)), (0, (2, 1)))


INK, QUIET, LINE, PAPER = "#010101", "#595959", "#d4d4d4", "#ffffff"
"""Nothing else has these, so that :mod:`mtlbench.report.figures.svg` can put a page's own in their place. Ink is not
quite black, which matplotlib would leave out of an SVG as what is drawn anyway."""


@dataclass(frozen=True)
class Look:
    """How one method is drawn. ``named`` is false for those that share one quiet look."""

    colour: str
    marker: str
    style: Any
    named: bool = True


def looks(methods: Sequence[str], baseline: str | None, single: Sequence[str]) -> dict[str, Look]:
    """Give the baseline ink, single-task training grey dashes, the first few others a colour, and the rest grey.

    :param methods: the most interesting first.
    """
    found: dict[str, Look] = {}
    left = iter(zip(PALETTE, MARKERS, STYLES, strict=True))
    for method in methods:
        if method == baseline:
            found[method] = Look(INK, "X", "-")
        elif method in single[:1]:
            found[method] = Look(QUIET, "*", (0, (4, 3)))
        elif (entry := next(left, None)) is not None:
            found[method] = Look(*entry)
        else:
            found[method] = Look(LINE, ".", "-", named=False)
    return found


@contextmanager
def applied() -> Iterator[None]:
    """Hold for drawing and for saving: fonts, colours, the salt of identifiers."""
    settings: Any = {
        "font.family": "DejaVu Sans",  # comes with matplotlib: the same layout everywhere
        "font.size": 9.0,
        "axes.titlesize": 9.0,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.labelsize": 9.0,
        "xtick.labelsize": 8.5,
        "ytick.labelsize": 8.5,
        "legend.fontsize": 8.5,
        "axes.linewidth": 0.7,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "text.parse_math": False,  # names are the user's: "$" is a dollar
        "text.color": INK,
        "axes.edgecolor": QUIET,
        "axes.labelcolor": INK,
        "axes.titlecolor": INK,
        "xtick.color": QUIET,
        "ytick.color": QUIET,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "grid.color": LINE,
        "grid.linewidth": 0.6,
        "axes.facecolor": "none",
        "figure.facecolor": "none",
        "savefig.facecolor": "none",
        "legend.frameon": False,
        "svg.fonttype": "none",  # text stays text, for search and screen readers
        "svg.hashsalt": "mtlbench",  # the same bytes for the same data
        "pdf.fonttype": 42,
    }
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # another script's letters
        yield


def sheet(
    height: float, rows: int = 1, columns: int = 1, **options: Any
) -> tuple[matplotlib.figure.Figure, list[Axes]]:
    """Return a figure and its panels, row by row."""
    figure = matplotlib.figure.Figure(figsize=(WIDTH, height), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, list(panels.flat)


def grid(panel: Axes, axis: Any = "both", most: int = 5) -> None:
    """Draw a quiet grid with few ticks."""
    panel.grid(True, axis=axis)
    panel.tick_params(length=2.5, width=0.6, pad=2.5)
    if panel.get_xscale() == "linear":
        panel.xaxis.set_major_locator(MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]))


def legend(figure: matplotlib.figure.Figure, handles: Sequence[Any]) -> None:
    """Put the legend below, in as many columns as the longest name allows."""
    longest = max((len(str(handle.get_label())) for handle in handles), default=1)
    columns = max(1, min(4, len(handles), round(58 / (longest + 8))))
    figure.legend(
        handles=list(handles),
        loc="outside lower center",
        ncols=columns,
        handlelength=2.6,
        columnspacing=1.2,
        handletextpad=0.6,
        borderaxespad=0.2,
    )


def legend_height(names: Sequence[str]) -> float:
    """Return about how high the legend of these names is, in inches."""
    longest = max(map(len, names), default=1)
    columns = max(1, min(4, len(names), round(58 / (longest + 8))))
    return 0.1 + 0.18 * -(-len(names) // columns)


def short(name: str, width: int = NAME_WIDTH) -> str:
    """Return a name that fits: the middle of a longer one is left out."""
    if len(name) <= width:
        return name
    head = (width - 1) // 2 + (width - 1) % 2
    return f"{name[:head]}…{name[len(name) - (width - 1 - head) :]}"
