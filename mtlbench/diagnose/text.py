"""Findings and recommendations as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import chain
from typing import Any

from mtlbench.diagnose import NOT_MEASURED, Finding, diagnose, not_examined
from mtlbench.diagnose.map_evidence import in_errors
from mtlbench.diagnose.recommend import Advice, recommend
from mtlbench.diagnose.without_files import lacking, unexamined
from mtlbench.records.group_names import headings
from mtlbench.records.groups import Cells, Record
from mtlbench.records.left_out import left_out
from mtlbench.records.watched import OWN
from mtlbench.report.blocks import Block, Bullets, Heading, Paragraph
from mtlbench.report.names import EXAMPLES, MANY, labels


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
    without = lacking(cells)
    healthy = "nothing is wrong with what their folder holds" if without else "nothing is wrong with them"
    result = f"{grave} finding{'s' * (grave > 1)}" if grave else healthy
    blocks: list[Block] = [
        Paragraph(f"Cells of {len(cells.methods)} method{'s' * (len(cells.methods) > 1)}: {states}; {result}.")
    ]
    if cells.unfinished:
        states_of = tuple(f"{cell['method']} seed {cell['seed']}: {_state(cell)}" for cell in unfinished(cells))
        blocks.append(Bullets("Not at their end: examined as far as their checkpoints go", states_of))
    unknown = not_examined(cells)
    lines = [without] if without else []
    if unknown:
        lines.append(f"rows are not compared where a problem reads its inputs on demand: {', '.join(unknown)}")
    if lines:
        blocks.append(Bullets("Not examined", tuple(lines)))
    return [*blocks, *_bullets(findings), *advice_blocks(cells)]


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
    without = [Bullets("Not examined", (left_out(cells.records),))] if left_out(cells.records) else []
    return [
        Paragraph(text),
        *without,
        *_bullets(findings),
        *advice_blocks(cells),
        Bullets("Not measured in a watched run", unknown),
    ]


def _bullets(findings: Sequence[Finding]) -> list[Block]:
    return [Bullets(_title(alike), _lines(alike)) for alike in _alike(findings)]


def advice_blocks(cells: Cells) -> list[Block]:
    """Return what the runs of the plain sum suggest to try, as blocks of text; none where there is no such run.

    :param cells: the group.
    """
    return [
        Bullets(f"advice {advice.code}: {_about(advice)}{advice.what}", _advice_lines(advice))
        for advice in recommend(cells)
    ]


def _about(advice: Advice) -> str:
    return "" if advice.method == OWN else f"{advice.method}: "


def _advice_lines(advice: Advice) -> tuple[str, ...]:
    r2 = ", ".join(f"{value:.2f} from {name}" for name, value in advice.r2.items())
    return (
        f"measured: {advice.measured}",
        *([f"expected gain: {in_errors(advice.gain)}"] if advice.gain else []),
        f"try: {advice.fix}",
        f"evidence (points of gain over the plain sum): {'; '.join(advice.evidence)}",
        f"share of the gain's variance that is explained (R²): {r2 or 'not known'}",
        f"limits: {'; '.join(advice.limits)}",
        *(f"not decided without {what}: {' and '.join(rules)}" for what, rules in advice.undecided.items()),
    )


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
    """Return JSON with lists of all findings and recommendations, each with its suite and group, and of the groups.

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
            **({"left_out": without} if (without := left_out(cells.records)) else {}),
        }
        for cells, _ in found
    ]
    advice = [
        {"suite": cells.suite, "group": cells.group, **asdict(advice)}
        for cells, _ in found
        for advice in recommend(cells)
    ]
    content = {"schema": 1, "groups": groups, "findings": finding_rows(found), "advice": advice}
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
    return sorted(
        chain.from_iterable(NOT_MEASURED.values()) if cells.watched else (*not_examined(cells), *unexamined(cells))
    )


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
    if len(alike) > MANY:
        label = labels(finding.method for finding in alike)
        others = [label[finding.method] for finding in alike[EXAMPLES:]]
        evidence = [*evidence[:EXAMPLES], f"the same of {len(others)} more methods, see --json: {', '.join(others)}"]
    return (
        *(f"evidence: {line}" for line in evidence),
        f"cause ({first.sure}): {first.cause}",
        f"fix: {first.fix}",
    )


def _cells(finding: Finding) -> str:
    if finding.method == OWN:
        return "this run"
    return f"{len(finding.seeds)} of {finding.of} cells" if finding.of else "no cell"
