"""How the cells of a group were made, as tables: the whole configuration and the software. Only the page shows it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from mtlbench.records.groups import Cells, Record, spec
from mtlbench.report.document import Row, Section, Table
from mtlbench.report.result import GroupReport

DIGITS = 12
"""Of a hash: enough to tell two apart."""


def settings(group: GroupReport, cells: Cells) -> Table:
    """Lay out recipe, encoder, tasks, methods and software. Where cells differ, every value is listed."""
    sections = [
        _section("Recipe", group.recipe),
        _section("Encoder", cells.encoder),
        *(_section(f"Task {task.name}", _task(cells, task.name)) for task in group.tasks),
        *(_section(f"Method {method}", _method(cells, method)) for method in group.methods),
        _section("Software", _joined((record.get("environment") or {}).get("versions") for record in cells.records)),
        _section("Source", _joined((record.get("environment") or {}).get("git") for record in cells.records)),
        _section("Machine", _joined((record.get("environment") or {}).get("machine") for record in cells.records)),
    ]
    return Table("Configuration and software", ("setting", "value"), tuple(s for s in sections if s.rows), detail=True)


def runs(cells: Cells) -> Table:
    """Lay out every cell: what became of it, when, and how long it took."""
    rows = [
        Row(
            (
                spec(r),
                str(r["seed"]),
                str(r["status"]),
                str(r["started"])[:19],
                f"{r['seconds']:.0f}",
                r["key"][:DIGITS],
            )
        )
        for r in sorted(cells.records, key=lambda r: (spec(r), r["seed"]))
    ]
    columns = ("method", "seed", "status", "started (UTC)", "seconds", "key")
    return Table("Cells", columns, (Section(None, tuple(rows)),), detail=True)


def _section(heading: str, values: Mapping[str, Any]) -> Section:
    return Section(heading, tuple(Row((name, _said(value))) for name, value in values.items()))


def _task(cells: Cells, name: str) -> Mapping[str, Any]:
    """Return a task's description, without the floors, which the report has."""
    found: Mapping[str, Any] = next((r["tasks"][name] for r in cells.records if name in r.get("tasks", {})), {})
    return {key: value for key, value in found.items() if key != "floors"}


def _method(cells: Cells, method: str) -> Mapping[str, Any]:
    """Return a method's parameters, and what it reads."""
    told = [record["method"] for record in cells.records if spec(record) == method]
    described = {name: told[0][name] for name in ("reads", "heads") if name in told[0]}
    sources = dict.fromkeys(str(one.get("source_sha256", "unknown"))[:DIGITS] for one in told)
    return {**(told[0].get("parameters") or {}), **described, "source": ", ".join(sources)}


def _joined(found: Iterable[Record | None]) -> Mapping[str, Any]:
    """Return every fact of all cells; where they differ, all values."""
    facts: dict[str, list[str]] = {}
    for one in found:
        for name, value in (one or {}).items():
            known = facts.setdefault(name, [])
            if (said := _said(value)) not in known:
                known.append(said)
    return {name: ", ".join(sorted(values)) for name, values in facts.items()}


def _said(value: Any) -> str:
    """Return a value as a person would write it."""
    if isinstance(value, str):
        return value[:DIGITS] if len(value) == 64 and value.isalnum() else value
    if value is None:
        return "none"
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return ", ".join(value)
    return json.dumps(value)
