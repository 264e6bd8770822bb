"""The table of ``mtlbench tune``, for the page."""

from __future__ import annotations

from mtlbench.grid.tuned_file import Tuned
from mtlbench.report.blocks import Paragraph, Row, Section, Table
from mtlbench.report.figures.figure import Unavailable
from mtlbench.tune.text import COLUMNS, notes, row, title

NONE = "No tuning was given: run mtlbench tune, then mtlbench study --tuned FILE with the tuned.json that it wrote"
ABOUT = (
    "Every method got the same number of trials, the same learning rates to try, and seeds that no table here reports. "
    "In the tables above, a tuned method has the best trial's values in brackets. The best learning rate of few steps "
    "is not that of many: trials shorter than the runs above choose for a shorter run."
)


def given(tuned: Tuned | None) -> Tuned:
    """Return the content of ``tuned.json``.

    :param tuned: the content, or ``None`` if the methods were not tuned.
    :raises Unavailable: if the methods were not tuned.
    """
    if tuned is None:
        raise Unavailable(NONE)
    return tuned


def tuning(tuned: Tuned) -> list[Paragraph | Table]:
    """Return the table of a tuning, with an explanation.

    :param tuned: the content of ``tuned.json``.
    """
    rows = [Row(tuple(cell.plain for cell in row(tuned, study))) for study in tuned.studies]
    return [
        Paragraph(ABOUT),
        Table(title(tuned), COLUMNS, (Section(None, tuple(rows)),), tuple(notes(tuned))),
    ]
