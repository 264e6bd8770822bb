"""The report as one self-contained HTML file: it fetches nothing, and without JavaScript only sorting is lost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import jinja2
from markupsafe import Markup

from mtlbench.report.blocks import Block, Bullets, Heading, Paragraph, Table

if TYPE_CHECKING:
    from mtlbench.report.figures import Figure, Omission


@dataclass(frozen=True)
class Drawing:
    """A figure as SVG, with its words."""

    title: str
    description: str
    svg: Markup


@dataclass
class PagePart:
    """Content under one heading, in the order of the page."""

    heading: str = ""
    anchor: str = ""
    summary: list[Block] = field(default_factory=list)
    """Opening paragraphs; the first figure follows them."""
    tables: list[Block] = field(default_factory=list)
    """Main tables; the other figures follow them."""
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
    """Return a document as an HTML page, from the template ``report.html.j2``. Every string is escaped.

    :param blocks: the document.
    :param title: title of the page.
    :param figures: figures, each placed under the heading named by its ``group``, or in the last part if there is no
        such heading.
    :param omitted: the figures that could not be drawn, with reasons.
    :param settings: pairs of a heading and a table of how its cells were made; the page shows it folded.
    """
    parts = _parts(blocks)
    by_heading = {part.heading: part for part in reversed(parts)}
    for number, figure in enumerate(figures, start=1):
        by_heading.get(figure.group, parts[-1]).drawings.append(_drawing(figure, f"figure-{number}"))
    for omission in omitted:
        by_heading.get(omission.group, parts[-1]).omitted.append(omission.reason)
    for heading, table in settings:
        by_heading.get(heading, parts[-1]).settings.append(table)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mtlbench.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("report.html.j2").render(parts=parts, title=title) + "\n"


def _parts(blocks: Sequence[Block]) -> list[PagePart]:
    """Split the document at its headings, and each part into summary, main tables and the rest."""
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
    """Draw a figure. Its SVG is safe to insert as markup: the serializer has escaped every text."""
    from mtlbench.report.figures import svg  # a page without figures needs no matplotlib

    return Drawing(figure.title, figure.description, Markup(svg.inline(figure, prefix)))
