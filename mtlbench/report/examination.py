"""What the doctor says of each group, under the group's heading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mtlbench.diagnose import diagnose_group
from mtlbench.diagnose.text import examined
from mtlbench.records.groups import Cells
from mtlbench.report.document import Block, Bullets, Heading, Paragraph


def with_findings(blocks: Sequence[Block], groups: Mapping[str, Cells]) -> list[Block]:
    """Return the document with the findings of each group at the end of its part.

    :param groups: the cells under each heading.
    """
    found: list[Block] = []
    waiting: list[Block] = []
    for block in blocks:
        if isinstance(block, Heading):
            found += waiting
            waiting = _findings(groups[block.text]) if block.text in groups else []
        found.append(block)
    return found + waiting


def _findings(cells: Cells) -> list[Block]:
    """Lay out the findings as lists; the sentence before them is a list of its own, so that it stays with them."""
    told, *findings = examined(cells, diagnose_group(cells))
    assert isinstance(told, Paragraph)
    return [Bullets("What the doctor says", (told.text,)), *findings]
