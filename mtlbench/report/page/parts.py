"""The report as the page shows it: each group split into what is read first, what is looked up and what is folded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from markupsafe import Markup

from mtlbench.records.groups import Cells, Record
from mtlbench.report.blocks import Block, Bullets, Paragraph, Table
from mtlbench.report.document import of_group
from mtlbench.report.names import labels
from mtlbench.report.page.cards import Card, cards
from mtlbench.report.page.forest import Forest, forest
from mtlbench.report.page.leaders import Leaders, leaders
from mtlbench.report.result import GroupReport, Report
from mtlbench.report.settings import runs, settings
from mtlbench.report.split import cells_by_group

if TYPE_CHECKING:
    from mtlbench.report.figures import Figure, Gallery

FOREST = "differences"
"""Name of the figure that the page replaces by its own forest plot."""
LONGEST_READING = 130
"""Most letters of a sentence to show whole under a figure's title."""


@dataclass(frozen=True)
class Drawing:
    """A figure as SVG, with its words: how to read it, and its numbers."""

    title: str
    reading: str
    numbers: str
    svg: Markup


@dataclass
class Part:
    """One group, in the order of the page."""

    group: GroupReport
    anchor: str
    methods: Mapping[str, str]
    """Spec of each method by what a table may call it: its spec or its short label."""
    verdict: list[str] = field(default_factory=list)
    cards: tuple[Card, ...] = ()
    forest: Forest | None = None
    tests: Table | None = None
    """All tests of the differences that the forest plot shows."""
    tables: list[Table] = field(default_factory=list)
    leaders: Leaders = field(default_factory=lambda: Leaders({}))
    drawings: list[Drawing] = field(default_factory=list)
    lists: list[Bullets] = field(default_factory=list)
    findings: list[Block] = field(default_factory=list)
    folded: list[Block] = field(default_factory=list)
    """Tables of details and lists that are looked up rarely."""
    settings: list[Table] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    """Paragraphs after the tables, on the recipe."""


def parts(
    report: Report, records: Sequence[Record], drawn: Gallery | None, findings: Mapping[str, Sequence[Block]]
) -> list[Part]:
    """Return the groups of a report as parts of the page.

    :param report: the report.
    :param records: its records; without them a part has no single seeds, figures, marks and settings.
    :param drawn: its figures.
    :param findings: the doctor's findings by group id.
    """
    cells_of = cells_by_group(report, records) if records else {}
    made = []
    for number, group in enumerate(report.groups, start=1):
        part = _part(group, f"group-{number}", cells_of.get(group.group))
        part.findings = list(findings.get(group.group, ()))
        if drawn is not None:
            shown = [f for f in drawn.figures if f.group == group.name and not (part.forest and f.name == FOREST)]
            part.drawings = [_drawing(figure, f"figure-{number}-{place}") for place, figure in enumerate(shown, 1)]
            reasons = tuple(omission.reason for omission in drawn.omitted if omission.group == group.name)
            part.folded += [Bullets("Figures left out", reasons)] if reasons else []
        made.append(part)
    return made


def _part(group: GroupReport, anchor: str, cells: Cells | None) -> Part:
    """Sort the blocks of a group."""
    methods = {name: method for method, label in labels(group.methods).items() for name in (method, label)}
    part = Part(group, anchor, methods, cards=cards(group), forest=forest(group, cells), leaders=leaders(group, cells))
    for block in of_group(group):
        if isinstance(block, Paragraph):
            (part.words if part.tables else part.verdict).append(block.text)
        elif isinstance(block, Bullets):
            (part.folded if block.full else part.lists).append(block)
        elif isinstance(block, Table) and (block.detail or part.forest is None):
            (part.folded if block.detail else part.tables).append(block)
        elif isinstance(block, Table) and block.title == f"Difference from {group.baseline}":
            part.tests = block
        elif isinstance(block, Table):
            part.tables.append(block)
    if cells is not None:
        part.settings = [settings(group, cells), *([] if group.watched else [runs(cells)])]
    return part


def _drawing(figure: Figure, prefix: str) -> Drawing:
    """Draw a figure. Its SVG is safe to insert as markup: the serializer has escaped every text."""
    from mtlbench.report.figures import svg  # a page without figures needs no matplotlib

    return Drawing(figure.title, *reading(figure.description), Markup(svg.inline(figure, prefix)))


def reading(description: str) -> tuple[str, str]:
    """Split a figure's description into how to read it, which the page shows, and its numbers, which it folds.

    :param description: sentences, of which the first says how to read the figure.
    """
    first, _, rest = description.partition(". ")
    if len(first) > LONGEST_READING and ": " in first:
        first, _, more = first.partition(": ")
        rest = f"{more}. {rest}"
    return f"{first.removesuffix('.')}.", rest
