"""What a figure is: a name, words for those who cannot see it, and a way to draw it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import matplotlib.figure

from mtlbench.report.figures.style import Theme


@dataclass(frozen=True)
class Figure:
    """One figure. Nothing is drawn before ``draw`` is called: a page and a paper draw it in other colours."""

    name: str
    """Short, for file names: letters, digits and hyphens."""
    title: str
    description: str
    """What is shown, with numbers, in a sentence or two: the text for those who cannot see the figure."""
    draw: Callable[[Theme], matplotlib.figure.Figure]
    """To be called under :func:`mtlbench.report.figures.style.drawn`, which sets fonts and colours."""
    group: str = ""
    """The heading of the group of cells that it shows."""


@dataclass(frozen=True)
class Omission:
    """A figure that could not be drawn, or a cell that is in none, with the reason."""

    reason: str
    group: str = ""


class Unavailable(Exception):
    """Raised by a kind of figure when the data cannot give it; the message is the reason."""
