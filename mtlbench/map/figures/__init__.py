"""Figures of a map, for papers and for the page: drawn by matplotlib in the style of the report's figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from mtlbench.map.figures.curves import budgets, lengths
from mtlbench.map.figures.figure import MapFigure
from mtlbench.map.figures.metrics import metrics
from mtlbench.map.figures.panels import overview, slices
from mtlbench.map.result import MapResult
from mtlbench.map.tally import Comparisons
from mtlbench.report.figures.save import save_figures as save

KINDS: Final[tuple[Callable[[Comparisons], MapFigure | None], ...]] = (overview, metrics, lengths, budgets)
"""Figures of certain studies, in the order of the page; each other study is drawn in panels."""
FORMATS: Final = ("svg", "png")


def figures(result: MapResult, comparisons: Comparisons | None = None) -> list[MapFigure]:
    """Return all figures that the studies of a map suffice for.

    >>> from mtlbench.map.figures import figures
    >>> from mtlbench.map.result import MapResult
    >>> figures(MapResult({}))
    []

    :param result: the map.
    :param comparisons: its gains, if they were computed before.
    """
    shared = comparisons or Comparisons(result)
    drawn = [figure for kind in KINDS if (figure := kind(shared)) is not None]
    shown = {figure.study for figure in drawn}
    others = [study for study in result.studies.values() if study.name not in shown]
    return [*drawn, *(figure for study in others if (figure := slices(shared, study)) is not None)]


def save_figures(result: MapResult, folder: Path, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write all figures of a map for a paper, in dark ink on white; the same map gives the same bytes.

    :param result: the map.
    :param folder: folder to write to, created if needed.
    :param formats: ``svg``, ``png`` or ``pdf``.
    :returns: paths of the files.
    :raises UsageError: when a format is unknown or the folder is not writable.
    """
    return save([shown.figure for shown in figures(result)], folder, formats)
