"""What a figure is: a name, words for those who cannot see it, and a way to draw it."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import matplotlib.figure

from mtlbench.report.figures import style

METADATA: Final[dict[str, dict[str, Any]]] = {
    "svg": {"Date": None, "Creator": None, "Format": None, "Type": None},
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
"""By format: without what changes from day to day, or from version to version."""
DPI = 200


@dataclass(frozen=True)
class Figure:
    """One figure. It is drawn when it is first asked for, and once: a page and files show the same drawing."""

    name: str
    """Short, for file names: letters, digits and hyphens."""
    title: str
    description: str
    """What is shown, with numbers, in a sentence or two: the text for those who cannot see the figure."""
    draw: Callable[[], matplotlib.figure.Figure]
    """To be called under :func:`mtlbench.report.figures.style.applied`, as ``canvas`` does."""
    group: str = ""
    """The heading of the group of cells that it shows."""

    @cached_property
    def canvas(self) -> matplotlib.figure.Figure:
        """The drawing."""
        with style.applied():
            return self.draw()

    @cached_property
    def svg(self) -> str:
        """The drawing as SVG. Laying it out takes most of the time; the other formats keep this layout."""
        made = self._saved("svg").decode()
        self.canvas.set_layout_engine("none")
        return made

    def file(self, format: str) -> bytes:
        """Return the drawing in one of the formats of :data:`METADATA`: the same bytes for the same data."""
        svg = self.svg
        return svg.encode() if format == "svg" else self._saved(format)

    def _saved(self, format: str) -> bytes:
        file = io.BytesIO()
        with style.applied():
            self.canvas.savefig(file, format=format, dpi=DPI, facecolor=style.PAPER, metadata=METADATA[format])
        return file.getvalue()


@dataclass(frozen=True)
class Omission:
    """A figure that could not be drawn, or a cell that is in none, with the reason."""

    reason: str
    group: str = ""


class Unavailable(Exception):
    """Raised by a kind of figure when the data cannot give it; the message is the reason."""
