"""What was tuned, trial by trial the same for every method: the table of ``mtlbench tune``, for the page."""

from __future__ import annotations

from mtlbench.report.blocks import Row, Section, Table
from mtlbench.report.figures.figure import Unavailable
from mtlbench.tune.render import COLUMNS, notes, row
from mtlbench.tune.tuned import Tuned

NONE = "No tuning was given: run mtlbench tune, then mtlbench study --tuned FILE with the tuned.json that it wrote"


def tuning(tuned: Tuned | None) -> list[Table]:
    """Lay out what a file of ``mtlbench tune`` holds.

    :raises Unavailable: without one.
    """
    if tuned is None:
        raise Unavailable(NONE)
    rows = [Row(tuple(cell.plain for cell in row(tuned, study))) for study in tuned.studies]
    return [Table(f"Tuning on {tuned.suite}", COLUMNS, (Section(None, tuple(rows)),), tuple(notes(tuned)))]
