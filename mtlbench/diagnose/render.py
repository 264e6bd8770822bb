"""Findings as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from mtlbench.diagnose import Finding
from mtlbench.report.layout import Block, Bullets, Heading, Paragraph
from mtlbench.report.records import Cells, headings


def to_blocks(found: Sequence[tuple[Cells, Sequence[Finding]]]) -> list[Block]:
    """Lay out the findings of every group; a healthy one gets one sentence."""
    blocks: list[Block] = []
    for title, (cells, findings) in zip(headings([cells for cells, _ in found]), found, strict=True):
        blocks += [Heading(title), *examined(cells, findings)]
    return blocks


def examined(cells: Cells, findings: Sequence[Finding]) -> list[Block]:
    """Lay out the findings of one group."""
    done, failed = len(cells.done), len(cells.failed)
    grave = sum(finding.severity != "note" for finding in findings)
    told = f"{done} finished and {failed} failed cells of {len(cells.methods)} methods examined"
    blocks: list[Block] = [Paragraph(f"{told}: {f'{grave} findings' if grave else 'nothing is wrong with them'}.")]
    return blocks + [Bullets(_title(finding), _lines(finding)) for finding in findings]


def to_json(found: Sequence[tuple[Cells, Sequence[Finding]]]) -> str:
    """Render as JSON: a flat list of objects, each naming its suite and group."""
    rows = [
        {"suite": cells.suite, "group": cells.group, **asdict(finding)}
        for cells, findings in found
        for finding in findings
    ]
    groups = [
        {"suite": cells.suite, "group": cells.group, "done": len(cells.done), "failed": len(cells.failed)}
        for cells, _ in found
    ]
    content = {"schema": 1, "groups": groups, "findings": rows}
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _title(finding: Finding) -> str:
    where = f"{finding.method}: " if finding.method else ""
    return f"{finding.severity} {finding.code}: {where}{finding.what}"


def _lines(finding: Finding) -> tuple[str, ...]:
    seeds = f"{len(finding.seeds)} of {finding.of} cells" if finding.of else "no cell"
    return (
        f"evidence: {finding.evidence} ({seeds})",
        f"cause ({finding.sure}): {finding.cause}",
        f"fix: {finding.fix}",
    )
