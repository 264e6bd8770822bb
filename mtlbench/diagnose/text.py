"""Findings as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import chain
from typing import Any

from mtlbench.diagnose import NOT_MEASURED, Finding, diagnose, not_examined
from mtlbench.records.groups import Cells, Record, headings
from mtlbench.records.watched import OWN
from mtlbench.report.blocks import Block, Bullets, Heading, Paragraph


def to_blocks(found: Sequence[tuple[Cells, Sequence[Finding]]]) -> list[Block]:
    """Return the findings on all groups as blocks of text; a healthy group gets one sentence.

    :param found: each group with its findings.
    """
    blocks: list[Block] = []
    for title, (cells, findings) in zip(headings([cells for cells, _ in found]), found, strict=True):
        blocks += [Heading(title), *examined(cells, findings)]
    return blocks


def examined(cells: Cells, findings: Sequence[Finding]) -> list[Block]:
    """Return the findings on one group as blocks of text.

    :param cells: the group.
    :param findings: its findings, the gravest first.
    """
    if cells.watched:
        return watched_blocks(cells, findings)
    counts = {"finished": len(cells.done), "failed": len(cells.failed), "unfinished": len(cells.unfinished)}
    states = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    grave = sum(finding.severity != "note" for finding in findings)
    result = f"{grave} finding{'s' * (grave > 1)}" if grave else "nothing is wrong with them"
    blocks: list[Block] = [
        Paragraph(f"Cells of {len(cells.methods)} method{'s' * (len(cells.methods) > 1)}: {states}; {result}.")
    ]
    if cells.unfinished:
        lines = [f"{cell['method']} seed {cell['seed']}: {_state(cell)}" for cell in unfinished(cells)]
        blocks.append(Bullets("Not at their end: examined as far as their checkpoints go", tuple(lines)))
    unknown = not_examined(cells)
    if unknown:
        blocks.append(
            Bullets(
                "Not examined",
                (f"rows are not compared where a problem reads its inputs on demand: {', '.join(unknown)}",),
            )
        )
    return blocks + _bullets(findings)


def watched_blocks(cells: Cells, findings: Sequence[Finding]) -> list[Block]:
    """Return the findings on a watched run as blocks of text, and what cannot be told from it.

    :param cells: the group, which is one run.
    :param findings: its findings, the gravest first.
    """
    record = cells.records[0]
    grave = sum(finding.severity != "note" for finding in findings)
    result = f"{grave} finding{'s' * (grave > 1)}" if grave else "nothing is wrong in what was measured"
    state = "" if record["status"] == "done" else f", {record['status']}"
    looks = record["watched"]["looks"]
    text = f"Own training, watched{state}: {record['recipe']['steps']} steps, gradients at {looks} of them; {result}."
    unknown = tuple(f"{why}: {', '.join(codes)}" for why, codes in NOT_MEASURED.items())
    return [Paragraph(text), *_bullets(findings), Bullets("Not measured in a watched run", unknown)]


def _bullets(findings: Sequence[Finding]) -> list[Block]:
    return [Bullets(_title(alike), _lines(alike)) for alike in _alike(findings)]


def by_group(records: Sequence[Record]) -> dict[str, list[Block]]:
    """Return blocks with the findings on each group, by the group's id, for a report.

    :param records: the records of the report.
    """
    blocks: dict[str, list[Block]] = {}
    for cells, findings in diagnose(records):
        summary, *lists = examined(cells, findings)
        assert isinstance(summary, Paragraph)  # as a list, it stays with the lists below it
        blocks[cells.group] = [Bullets("What the doctor says", (summary.text,)), *lists]
    return blocks


def unfinished(cells: Cells) -> list[dict[str, Any]]:
    """Return method, seed, state (running or stopped), finished steps and all steps of each unfinished cell.

    :param cells: the group.
    """
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


def _state(cell: dict[str, Any]) -> str:
    after = "" if cell["state"] == "running" else "; the next mtlbench run goes on from there"
    return f"{cell['state']}, after step {cell['step']} of {cell['steps']}{after}"


def to_json(found: Sequence[tuple[Cells, Sequence[Finding]]]) -> str:
    """Return JSON with a list of all findings, each with its suite and group, and a list of the groups.

    :param found: each group with its findings.
    """
    groups = [
        {
            "suite": cells.suite,
            "group": cells.group,
            "done": len(cells.done),
            "failed": len(cells.failed),
            "unfinished": unfinished(cells),
            **({"not_measured": unknown} if (unknown := _unknown(cells)) else {}),
        }
        for cells, _ in found
    ]
    content = {"schema": 1, "groups": groups, "findings": finding_rows(found)}
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def finding_rows(found: Sequence[tuple[Cells, Sequence[Finding]]]) -> list[dict[str, Any]]:
    """Return all findings as plain data, each with its suite and group.

    :param found: each group with its findings.
    """
    return [
        {"suite": cells.suite, "group": cells.group, **asdict(finding)}
        for cells, findings in found
        for finding in findings
    ]


def _unknown(cells: Cells) -> list[str]:
    return sorted(chain.from_iterable(NOT_MEASURED.values()) if cells.watched else not_examined(cells))


def _alike(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Group findings that say the same of several methods, in the order of the first of each group."""
    alike: dict[tuple[str, ...], list[Finding]] = {}
    for finding in findings:
        key = finding.severity, finding.code, finding.what, finding.cause, finding.fix
        alike.setdefault(key, []).append(finding)
    return list(alike.values())


def _title(alike: Sequence[Finding]) -> str:
    first, methods = alike[0], [finding.method for finding in alike]
    where = f"{methods[0]}: " if len(methods) == 1 else f"{len(methods)} methods: "
    named = first.method and methods != [OWN]  # the heading has said so
    return f"{first.severity} {first.code}: {where if named else ''}{first.what}"


def _lines(alike: Sequence[Finding]) -> tuple[str, ...]:
    first = alike[0]
    evidence = [f"{finding.evidence} ({_cells(finding)})" if finding.method else finding.evidence for finding in alike]
    if len(alike) > 1:
        evidence = [f"{finding.method}: {line}" for finding, line in zip(alike, evidence, strict=True)]
    return (
        *(f"evidence: {line}" for line in evidence),
        f"cause ({first.sure}): {first.cause}",
        f"fix: {first.fix}",
    )


def _cells(finding: Finding) -> str:
    if finding.method == OWN:
        return "this run"
    return f"{len(finding.seeds)} of {finding.of} cells" if finding.of else "no cell"
