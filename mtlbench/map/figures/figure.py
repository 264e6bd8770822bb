"""A figure of a map, and the study under which a page shows it."""

from __future__ import annotations

from dataclasses import dataclass

from mtlbench.report.figures.figure import Figure


@dataclass(frozen=True)
class MapFigure:
    """A figure, and the study that it shows."""

    study: str
    figure: Figure
