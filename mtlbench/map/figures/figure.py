"""A figure of a map, and the study under which a page shows it."""

from __future__ import annotations

from dataclasses import dataclass

from mtlbench.report.figures.figure import Figure


@dataclass(frozen=True)
class MapFigure:
    """A figure, the study that it shows, and a caption.

    :param study: name of the study.
    :param figure: the figure; its description has the numbers, for readers who cannot see it.
    :param caption: what those who see it must know.
    :param repeats: whether the page's panels of the study show the same as they stand.
    """

    study: str
    figure: Figure
    caption: str
    repeats: bool = False
