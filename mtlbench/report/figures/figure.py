"""A figure: its name, its description for screen readers, and the function that draws it."""

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
"""Metadata by format, without dates and versions, which would change the bytes of the file."""
DPI = 200


@dataclass(frozen=True)
class Figure:
    """One figure, drawn once on first use, so that pages and files show the same drawing."""

    name: str
    """Short name for files: letters, digits and hyphens."""
    title: str
    description: str
    """Content of the figure with its numbers, in a few sentences, for readers who cannot see it."""
    draw: Callable[[], matplotlib.figure.Figure]
    """Draws the figure; call it within :func:`mtlbench.report.figures.style.applied`, as ``canvas`` does."""
    group: str = ""
    """Heading of the group of cells that the figure shows."""

    @cached_property
    def canvas(self) -> matplotlib.figure.Figure:
        """The drawing."""
        with style.applied():
            return self.draw()

    @cached_property
    def svg(self) -> str:
        """The drawing as SVG. Layout takes most of the time, so the other formats reuse this one."""
        text = self._saved("svg").decode()
        self.canvas.set_layout_engine("none")
        return text

    def file(self, format: str) -> bytes:
        """Return the drawing as a file; the same data give the same bytes.

        :param format: one of the formats of :data:`METADATA`.
        """
        svg = self.svg
        return svg.encode() if format == "svg" else self._saved(format)

    def _saved(self, format: str) -> bytes:
        """Return the drawing as saved by matplotlib."""
        file = io.BytesIO()
        with style.applied():
            self.canvas.savefig(file, format=format, dpi=DPI, facecolor=style.PAPER, metadata=METADATA[format])
        return file.getvalue()


@dataclass(frozen=True)
class Omission:
    """The reason why a figure could not be drawn, or why a cell is missing from figures."""

    reason: str
    group: str = ""


class Unavailable(Exception):
    """Raised when the data do not suffice for a figure; the message is the reason."""
