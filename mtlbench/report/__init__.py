"""Tables and figures from records: ``build`` makes a report from records, ``render`` prints it.

The only files read are the histories beside the records, which the figures are drawn from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from mtlbench.errors import unknown

if TYPE_CHECKING:
    from mtlbench.records.groups import Record
    from mtlbench.report.blocks import Block
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
    findings: Mapping[str, Sequence[Block]] | None = None,
    full: bool = False,
) -> str:
    """Return a report as text of one format.

    :param report: the report, as :func:`mtlbench.report.build.build` returns it.
    :param format: one of :data:`FORMATS`.
    :param width: width of ``text`` in terminal cells; default: the terminal's. Other formats ignore it.
    :param color: whether ``text`` may contain terminal escapes.
    :param records: the records that the report was built from; with them ``html`` also shows figures, configuration and
        software.
    :param drawn: the result of :func:`gallery` for these records, if already computed, so that nothing is drawn twice.
    :param findings: the doctor's findings by group id; ``html`` shows them under the group.
    :param full: whether ``text`` shows also what a reader rarely needs. Other formats ignore it.
    :raises UsageError: when the format is unknown.
    """
    # import each format's libraries only on demand: `--format json` needs neither rich nor jinja2
    from mtlbench.report.document import document

    match format:
        case "text":
            from mtlbench.report import text

            return text.render(document(report), width, color, full)
        case "markdown":
            from mtlbench.report import markdown

            return markdown.render(document(report))
        case "latex":
            from mtlbench.report import latex

            return latex.render(document(report))
        case "html":
            from mtlbench.report import html

            drawn = drawn or (gallery(report, records) if records else None)
            return html.render(report, records, drawn, findings)
        case "csv":
            from mtlbench.report.json_csv import to_csv

            return to_csv(report)
        case "json":
            from mtlbench.report.json_csv import to_json

            return to_json(report)
    raise unknown("format", format, FORMATS)


def gallery(report: Report, records: Sequence[Record]) -> Gallery:
    """Return the figures of all groups, and the reasons why others are omitted.

    :param report: the report.
    :param records: the records that it was built from, as :meth:`mtlbench.records.store.Store.scan` returns them.
    """
    from mtlbench.report.figures import Gallery, figures_of
    from mtlbench.report.split import cells_by_group

    cells_of = cells_by_group(report, records)
    galleries = [figures_of(group, cells_of[group.group]) for group in report.groups]
    return Gallery(
        figures=tuple(figure for group in galleries for figure in group.figures),
        omitted=tuple(omission for group in galleries for omission in group.omitted),
    )
