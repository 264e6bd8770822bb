"""Tables and figures from records. ``build`` makes a report out of records, ``render`` prints it.

Neither touches the disk but for the histories beside the records, which figures are drawn from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from mtlbench.errors import unknown

if TYPE_CHECKING:
    from mtlbench.records.groups import Record
    from mtlbench.report.figures import Gallery
    from mtlbench.report.result import Report

FORMATS: Final = ("text", "markdown", "csv", "json", "latex", "html")


def render(
    report: Report,
    format: str = "text",
    *,
    width: int | None = None,
    color: bool = False,
    records: Sequence[Record] = (),
    drawn: Gallery | None = None,
) -> str:
    """Render a report.

    :param format: one of :data:`FORMATS`.
    :param width: of ``text``, in terminal cells; the terminal's if not given. The other formats have none.
    :param color: whether ``text`` may hold terminal escapes; without, it is plain.
    :param records: those that the report was built from: ``html`` then has figures, configuration and software too.
    :param drawn: what :func:`gallery` gave for them, if it was asked already: nothing is drawn twice.
    :raises UsageError: when the format is unknown.
    """
    # each format's libraries are imported when it is asked for: `--format json` needs neither rich nor jinja2
    from mtlbench.report.document import document

    match format:
        case "text":
            from mtlbench.report import text

            return text.render(document(report), width, color)
        case "markdown":
            from mtlbench.report import markdown

            return markdown.render(document(report))
        case "latex":
            from mtlbench.report import latex

            return latex.render(document(report))
        case "html":
            return _page(report, records, drawn)
        case "csv":
            from mtlbench.report.json_csv import to_csv

            return to_csv(report)
        case "json":
            from mtlbench.report.json_csv import to_json

            return to_json(report)
    raise unknown("format", format, FORMATS)


def gallery(report: Report, records: Sequence[Record]) -> Gallery:
    """Return the figures of all groups, to be saved or put into a page, and the reasons why others are left out.

    :param records: those that the report was built from, as :meth:`mtlbench.records.store.Store.scan` reads them.
    """
    from mtlbench.records.groups import collect
    from mtlbench.report.figures import Gallery, figures_of

    cells = {one.group: one for one in collect(records)}
    found = [figures_of(group, cells[group.group]) for group in report.groups]
    return Gallery(
        figures=tuple(figure for one in found for figure in one.figures),
        omitted=tuple(omission for one in found for omission in one.omitted),
    )


def _page(report: Report, records: Sequence[Record], drawn: Gallery | None) -> str:
    """Render the page: with figures and settings if the records are at hand."""
    from mtlbench.report import html
    from mtlbench.report.document import document

    if not records:
        return html.render(document(report), title="mtlbench report")
    from mtlbench.records.groups import collect
    from mtlbench.report.examination import with_findings
    from mtlbench.report.settings import runs, settings

    found = drawn or gallery(report, records)
    cells = {one.group: one for one in collect(records)}
    tables = [
        (group.heading, table)
        for group in report.groups
        for table in (settings(group, cells[group.group]), runs(cells[group.group]))
    ]
    blocks = with_findings(document(report), {group.heading: cells[group.group] for group in report.groups})
    return html.render(blocks, "mtlbench report", found.figures, found.omitted, tables)
