"""The report as one self-contained HTML file: nothing is fetched; without its script, tables only do not sort."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import jinja2
from markupsafe import Markup

from mtlbench.report.document import Block, Bullets, Heading, Paragraph, Table

if TYPE_CHECKING:
    from mtlbench.report.figures import Figure, Omission


@dataclass(frozen=True)
class Drawing:
    """A figure, drawn."""

    title: str
    description: str
    svg: Markup


@dataclass
class PagePart:
    """What stands under one heading, in the order of the page."""

    heading: str = ""
    anchor: str = ""
    summary: list[Block] = field(default_factory=list)
    """The paragraphs that the part begins with; the first figure follows them."""
    tables: list[Block] = field(default_factory=list)
    """The tables that everyone should see; the other figures follow them."""
    rest: list[Block] = field(default_factory=list)
    drawings: list[Drawing] = field(default_factory=list)
    omitted: list[str] = field(default_factory=list)
    settings: list[Table] = field(default_factory=list)


def render(
    blocks: Sequence[Block],
    title: str,
    figures: Sequence[Figure] = (),
    omitted: Sequence[Omission] = (),
    settings: Iterable[tuple[str, Table]] = (),
) -> str:
    """Render the document with ``report.html.j2``, which lies beside this file. Every string is escaped.

    :param figures: each is put under the heading that its ``group`` names; the last part takes those of no heading.
    :param omitted: the figures that could not be drawn.
    :param settings: heading → table of how its cells were made, to be opened by a click.
    """
    parts = _parts(blocks)
    under = {part.heading: part for part in reversed(parts)}
    for number, figure in enumerate(figures, start=1):
        under.get(figure.group, parts[-1]).drawings.append(_drawing(figure, f"figure-{number}"))
    for omission in omitted:
        under.get(omission.group, parts[-1]).omitted.append(omission.reason)
    for heading, table in settings:
        under.get(heading, parts[-1]).settings.append(table)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mtlbench.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("report.html.j2").render(parts=parts, title=title) + "\n"


def _parts(blocks: Sequence[Block]) -> list[PagePart]:
    """Split the document by its headings, and each part by what may come between its blocks."""
    parts = [PagePart()]
    for block in blocks:
        part = parts[-1]
        if isinstance(block, Heading):
            parts.append(PagePart(block.text, f"part-{len(parts)}"))
        elif isinstance(block, Paragraph) and not part.tables and not part.rest:
            part.summary.append(block)
        elif isinstance(block, Bullets) or (isinstance(block, Table) and block.detail) or part.rest:
            part.rest.append(block)
        else:
            part.tables.append(block)
    first = parts[0]
    return parts if len(parts) == 1 or first.summary or first.tables or first.rest else parts[1:]


def _drawing(figure: Figure, prefix: str) -> Drawing:
    """Draw a figure. The SVG comes from a serializer that escapes every text, so it may stand in the page as it is."""
    from mtlbench.report.figures import svg  # a page without figures needs no matplotlib

    return Drawing(figure.title, figure.description, Markup(svg.inline(figure, prefix)))
