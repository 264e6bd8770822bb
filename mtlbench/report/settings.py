"""Configuration, software and cells of a group as tables; only the HTML page shows them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from mtlbench.recipe.suite import meaningful
from mtlbench.records.groups import Cells, Record, spec
from mtlbench.report.blocks import Row, Section, Table
from mtlbench.report.numbers import ABSENT
from mtlbench.report.result import GroupReport

DIGITS = 12
"""Digits of a hash to print: enough to distinguish hashes."""


def settings(group: GroupReport, cells: Cells) -> Table:
    """Return the table of recipe, encoder or problem, tasks, methods and software; where cells differ, every value.

    :param group: the report of one group.
    :param cells: the cells of the same group.
    """
    sections = [
        _section("Recipe", meaningful(group.recipe)),
        _section("Watched", _watched(cells)),
        _section("Encoder" if cells.problem is None else "Problem", _model(cells)),
        *(_section(f"Task {task.name}", _task(cells, task.name)) for task in group.tasks),
        *(_section(f"Method {method}", _method(cells, method)) for method in group.methods if not group.watched),
        _section("Software", _joined((record.get("environment") or {}).get("versions") for record in cells.records)),
        _section("Source", _joined((record.get("environment") or {}).get("git") for record in cells.records)),
        _section("Machine", _joined((record.get("environment") or {}).get("machine") for record in cells.records)),
    ]
    return Table("Configuration and software", ("setting", "value"), tuple(s for s in sections if s.rows), detail=True)


def runs(cells: Cells) -> Table:
    """Return the table of cells, with status, start and duration.

    :param cells: the cells of one group.
    """
    rows = [
        Row(
            (
                spec(r),
                str(r["seed"]),
                str(r["status"]),
                str(r["started"])[:19],
                ABSENT if r["seconds"] is None else f"{r['seconds']:.0f}",
                r["key"][:DIGITS],
            )
        )
        for r in sorted(cells.records, key=lambda r: (spec(r), r["seed"]))
    ]
    columns = ("method", "seed", "status", "started (UTC)", "seconds", "key")
    return Table("Cells", columns, (Section(None, tuple(rows)),), detail=True)


def _section(heading: str, values: Mapping[str, Any]) -> Section:
    return Section(heading, tuple(Row((name, _text(value))) for name, value in values.items()))


def _task(cells: Cells, name: str) -> Mapping[str, Any]:
    """Return a task's description without its floors, which the report shows elsewhere."""
    task: Mapping[str, Any] = next((r["tasks"][name] for r in cells.records if name in r.get("tasks", {})), {})
    unknown: tuple[Any, ...] = (None, []) if cells.watched else ()
    return {key: value for key, value in task.items() if key != "floors" and value not in unknown}


def _model(cells: Cells) -> Mapping[str, Any]:
    """Return the encoder, or the problem's model, which was tuned on nothing."""
    return {name: value for name, value in cells.encoder.items() if cells.problem is None or name != "tuned_on"}


def _watched(cells: Cells) -> Mapping[str, Any]:
    """Return how a run was watched; nothing for cells."""
    if cells.watched is None:
        return {}
    record = cells.records[0]
    numbers = {name: value for name, value in cells.watched.items() if not isinstance(value, dict)}
    return {"started (UTC)": str(record["started"])[:19], "seconds of training": record["seconds"], **numbers}


def _method(cells: Cells, method: str) -> Mapping[str, Any]:
    """Return a method's parameters, its inputs and the hashes of its source."""
    entries = [record["method"] for record in cells.records if spec(record) == method]
    attributes = {name: entries[0][name] for name in ("reads", "heads") if name in entries[0]}
    sources = dict.fromkeys(str(entry.get("source_sha256", "unknown"))[:DIGITS] for entry in entries)
    return {**(entries[0].get("parameters") or {}), **attributes, "source": ", ".join(sources)}


def _joined(mappings: Iterable[Record | None]) -> Mapping[str, Any]:
    """Merge mappings of all cells; where values differ, join them."""
    merged: dict[str, list[str]] = {}
    for mapping in mappings:
        for name, value in (mapping or {}).items():
            texts = merged.setdefault(name, [])
            if (text := _text(value)) not in texts:
                texts.append(text)
    return {name: ", ".join(sorted(texts)) for name, texts in merged.items()}


def _text(value: Any) -> str:
    """Return a value as readable text."""
    if isinstance(value, str):
        return value[:DIGITS] if len(value) == 64 and value.isalnum() else value
    if value is None:
        return "none"
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return json.dumps(value)
