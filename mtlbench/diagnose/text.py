"""Findings as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from mtlbench.diagnose import Finding
from mtlbench.records.groups import Cells, headings
from mtlbench.report.document import Block, Bullets, Heading, Paragraph


def to_blocks(found: Sequence[tuple[Cells, Sequence[Finding]]]) -> list[Block]:
    """Lay out the findings of every group; a healthy one gets one sentence."""
    blocks: list[Block] = []
    for title, (cells, findings) in zip(headings([cells for cells, _ in found]), found, strict=True):
        blocks += [Heading(title), *examined(cells, findings)]
    return blocks


def examined(cells: Cells, findings: Sequence[Finding]) -> list[Block]:
    """Lay out the findings of one group."""
    counts = {"finished": len(cells.done), "failed": len(cells.failed), "unfinished": len(cells.unfinished)}
    told = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    grave = sum(finding.severity != "note" for finding in findings)
    found = f"{grave} finding{'s' * (grave > 1)}" if grave else "nothing is wrong with them"
    blocks: list[Block] = [
        Paragraph(f"Cells of {len(cells.methods)} method{'s' * (len(cells.methods) > 1)}: {told}; {found}.")
    ]
    if cells.unfinished:
        lines = [f"{one['method']} seed {one['seed']}: {_state(one)}" for one in unfinished(cells)]
        blocks.append(Bullets("Not at their end: examined as far as their checkpoints go", tuple(lines)))
    return blocks + [Bullets(_title(alike), _lines(alike)) for alike in _alike(findings)]


def unfinished(cells: Cells) -> list[dict[str, Any]]:
    """Return method, seed, state (running or stopped), steps done and steps in all of each cell not at its end."""
    return [
        {
            "method": method,
            "seed": seed,
            "state": record["status"],
            "step": max((row["step"] for row in record["history"]), default=0),
            "steps": record["recipe"]["steps"],
        }
        for (method, seed), record in sorted(cells.unfinished.items())
    ]


def _state(one: dict[str, Any]) -> str:
    after = "" if one["state"] == "running" else "; the next mtlbench run goes on from there"
    return f"{one['state']}, after step {one['step']} of {one['steps']}{after}"


def to_json(found: Sequence[tuple[Cells, Sequence[Finding]]]) -> str:
    """Render as JSON: a flat list of objects, each naming its suite and group."""
    rows = [
        {"suite": cells.suite, "group": cells.group, **asdict(finding)}
        for cells, findings in found
        for finding in findings
    ]
    groups = [
        {
            "suite": cells.suite,
            "group": cells.group,
            "done": len(cells.done),
            "failed": len(cells.failed),
            "unfinished": unfinished(cells),
        }
        for cells, _ in found
    ]
    content = {"schema": 1, "groups": groups, "findings": rows}
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _alike(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Put findings together that say the same of several methods, in the order of the first of each."""
    found: dict[tuple[str, ...], list[Finding]] = {}
    for one in findings:
        found.setdefault((one.severity, one.code, one.what, one.cause, one.fix), []).append(one)
    return list(found.values())


def _title(alike: Sequence[Finding]) -> str:
    first, methods = alike[0], [one.method for one in alike]
    where = f"{methods[0]}: " if len(methods) == 1 else f"{len(methods)} methods: "
    return f"{first.severity} {first.code}: {where if first.method else ''}{first.what}"


def _lines(alike: Sequence[Finding]) -> tuple[str, ...]:
    first = alike[0]
    seen = [f"{one.evidence} ({_cells(one)})" if one.method else one.evidence for one in alike]
    if len(alike) > 1:
        seen = [f"{one.method}: {told}" for one, told in zip(alike, seen, strict=True)]
    return (
        *(f"evidence: {told}" for told in seen),
        f"cause ({first.sure}): {first.cause}",
        f"fix: {first.fix}",
    )


def _cells(finding: Finding) -> str:
    return f"{len(finding.seeds)} of {finding.of} cells" if finding.of else "no cell"
