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
from mtlbench.report.page.parts import Part, parts
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
        title=_title(shown),
        largest=_largest(shown) if shown else None,
        parts=shown,
        several=several,
        overview=overview(report.groups, [part.anchor for part in shown]) if several else (),
        usual=common(report.groups) if several else {},
        damaged=damaged(report) if report.damaged else None,
    )
    return page + "\n"


def _title(shown: Sequence[Part]) -> str:
    """Return the title of the page."""
    if not shown:
        return "No group of results"
    name = _largest(shown).group.name
    return f"{name} and {counted(len(shown) - 1, 'other group')}" if len(shown) > 1 else name


def _largest(shown: Sequence[Part]) -> Part:
    """Return the group with the most cells, whose verdict is that of the page."""
    return max(shown, key=lambda part: len(part.group.methods) * len(part.group.seeds))
