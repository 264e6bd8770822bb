"""Tables from records. ``build`` makes a report out of records, ``render`` prints it; neither touches the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mtlbench.errors import unknown

if TYPE_CHECKING:
    from mtlbench.report.model import Report

FORMATS: Final = ("text", "markdown", "csv", "json", "latex", "html")


def render(report: Report, format: str = "text", *, width: int | None = None, color: bool = False) -> str:
    """Render a report.

    :param format: one of :data:`FORMATS`.
    :param width: of ``text``, in terminal cells; the terminal's if not given. The other formats have none.
    :param color: whether ``text`` may hold terminal escapes; without, it is plain.
    :raises UsageError: when the format is unknown.
    """
    # each format's libraries are imported when it is asked for: `--format json` needs neither rich nor jinja2
    from mtlbench.report.layout import document

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
            from mtlbench.report import html

            return html.render(document(report), title="mtlbench report")
        case "csv":
            from mtlbench.report.data import to_csv

            return to_csv(report)
        case "json":
            from mtlbench.report.data import to_json

            return to_json(report)
    raise unknown("format", format, FORMATS)
