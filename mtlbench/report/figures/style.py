"""Style of the figures: fonts, and the colours, markers and line styles of methods."""

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
"""Width of every figure, in inches: a column of a paper, and readable on a phone."""
NAME_WIDTH = 24
"""Longest name in a drawing; longer names are shortened in the middle and are complete in the description."""
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#C08A00", "#3A93D0")
"""Okabe and Ito's palette for colour-blind readers, without black (used for the baseline) and yellow (too pale).
Orange and sky blue are darker than in the original, whose contrast on white is below 3 : 1."""
MARKERS = ("o", "s", "^", "v", "D", "P")
STYLES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (6, 1, 1, 1, 1, 1)), (0, (2, 1)))
INK, QUIET, LINE, PAPER = "#010101", "#595959", "#d4d4d4", "#ffffff"
"""Colours used for nothing else, so that :mod:`mtlbench.report.figures.svg` can replace them with those of a page.
Ink is not pure black, which matplotlib omits from an SVG because it is the default."""


@dataclass(frozen=True)
class Look:
    """Colour, marker and line style of a method."""

    colour: str
    marker: str
    style: Any
    named: bool = True
    """False for methods that share the grey look without a name."""


def looks(methods: Sequence[str], baseline: str | None, single: Sequence[str]) -> dict[str, Look]:
    """Return a look for every method.

    The baseline gets ink, single-task training grey dashes, the first few others a colour and the rest light grey.

    :param methods: all methods, the most interesting first.
    :param baseline: spec of the baseline method, if any.
    :param single: the single-task methods; the first one gets the dashes.
    """
    look_of: dict[str, Look] = {}
    remaining = iter(zip(PALETTE, MARKERS, STYLES, strict=True))
    for method in methods:
        if method == baseline:
            look_of[method] = Look(INK, "X", "-")
        elif method in single[:1]:
            look_of[method] = Look(QUIET, "*", (0, (4, 3)))
        elif (entry := next(remaining, None)) is not None:
            look_of[method] = Look(*entry)
        else:
            look_of[method] = Look(LINE, ".", "-", named=False)
    return look_of


@contextmanager
def applied() -> Iterator[None]:
    """Apply fonts, colours and the salt of identifiers, for drawing and for saving."""
    settings: Any = {
        "font.family": "DejaVu Sans",  # ships with matplotlib: the same layout everywhere
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
        "text.parse_math": False,  # "$" in a user's name is a dollar sign
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
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # letters of other scripts
        yield


def sheet(
    height: float, rows: int = 1, columns: int = 1, **options: Any
) -> tuple[matplotlib.figure.Figure, list[Axes]]:
    """Return a figure and its panels, row by row.

    :param height: height of the figure, in inches.
    :param rows: rows of panels.
    :param columns: columns of panels.
    :param options: further options of ``Figure.subplots``.
    """
    figure = matplotlib.figure.Figure(figsize=(WIDTH, height), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, list(panels.flat)


def grid(panel: Axes, axis: Any = "both", most: int = 5) -> None:
    """Draw a light grid with few ticks.

    :param panel: the axes.
    :param axis: ``x``, ``y`` or ``both``.
    :param most: most intervals between ticks on a linear x axis.
    """
    panel.grid(True, axis=axis)
    panel.tick_params(length=2.5, width=0.6, pad=2.5)
    if panel.get_xscale() == "linear":
        panel.xaxis.set_major_locator(MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]))


def legend(figure: matplotlib.figure.Figure, handles: Sequence[Any]) -> None:
    """Add a legend below the figure, in as many columns as the longest name allows.

    :param figure: the figure.
    :param handles: the artists to list; their labels are the names.
    """
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
    """Return the approximate height of a legend, in inches.

    :param names: the names in the legend.
    """
    longest = max(map(len, names), default=1)
    columns = max(1, min(4, len(names), round(58 / (longest + 8))))
    return 0.1 + 0.18 * -(-len(names) // columns)


def short(name: str, width: int = NAME_WIDTH) -> str:
    """Return a name of at most the given width, shortened in the middle.

    :param name: the name.
    :param width: most characters.
    """
    if len(name) <= width:
        return name
    head = (width - 1) // 2 + (width - 1) % 2
    return f"{name[:head]}…{name[len(name) - (width - 1 - head) :]}"
