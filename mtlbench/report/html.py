"""The report as one self-contained HTML file: it fetches nothing, and without JavaScript all of it can be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import jinja2

from mtlbench.records.groups import Record
from mtlbench.report.blocks import Block
from mtlbench.report.document import damaged
from mtlbench.report.headline import counted
from mtlbench.report.page.overview import common, overview
from mtlbench.report.page.parts import parts
from mtlbench.report.result import Report

if TYPE_CHECKING:
    from mtlbench.report.figures import Gallery


def render(
    report: Report,
    records: Sequence[Record] = (),
    drawn: Gallery | None = None,
    findings: Mapping[str, Sequence[Block]] | None = None,
) -> str:
    """Return a report as an HTML page, from the templates in ``page/``. Every string is escaped.

    :param report: the report.
    :param records: the records that it was built from; without them the page has no seeds, figures and settings.
    :param drawn: its figures.
    :param findings: the doctor's findings by group id.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mtlbench.report.page", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    shown = parts(report, records, drawn, findings or {})
    several = len(shown) > 1
    page = environment.get_template("page.html.j2").render(
        title=_title(report),
        parts=shown,
        several=several,
        overview=overview(report.groups, [part.anchor for part in shown]) if several else (),
        usual=common(report.groups) if several else {},
        damaged=damaged(report) if report.damaged else None,
    )
    return page + "\n"


def _title(report: Report) -> str:
    """Return the title of the page."""
    if not report.groups:
        return "No group of results"
    largest = max(report.groups, key=lambda group: len(group.methods) * len(group.seeds))
    others = len(report.groups) - 1
    return f"{largest.name} and {counted(others, 'other group')}" if others else largest.name
