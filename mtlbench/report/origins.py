"""Provenance of the cells: records left out, and differences between compared cells other than the method."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from mtlbench.records.groups import Cells, Record, spec


def superseded(cells: Cells) -> list[str]:
    """Return the note on older records of the same cells, which are left out.

    :param cells: the cells of one group.
    """
    if not cells.superseded:
        return []
    records = "1 older record" if cells.superseded == 1 else f"{cells.superseded} older records"
    verb = "is" if cells.superseded == 1 else "are"
    return [f"{records} of the same cells {verb} left out; the newest of each counts"]


def cautions(cells: Cells) -> list[str]:
    """Return a caution for each of code, machine, libraries and recipe that differs between cells.

    Such a difference may explain a difference in scores.

    :param cells: the cells of one group.
    """
    notes = []
    for method in cells.methods:
        sources = {record["method"].get("source_sha256") for record in cells.records if spec(record) == method}
        if len(sources) > 1:
            notes.append(f"{method}: its source code differs between seeds ({len(sources)} versions)")
    notes += _environment_cautions(list(cells.done.values()))
    recipes = {json.dumps(dict(record["recipe"]), sort_keys=True, default=str) for record in cells.records}
    if len(recipes) > 1:
        names = {name for record in cells.records for name in record["recipe"]}
        differing = [n for n in sorted(names) if len({str(r["recipe"].get(n)) for r in cells.records}) > 1]
        notes.append(f"the cells of this group differ in their recipe: {', '.join(differing)}")
    return notes


def _environment_cautions(compared: Sequence[Record]) -> list[str]:
    """Return one line on the devices, processors and library versions that differ between the compared cells."""
    libraries = sorted({name for record in compared for name in _versions(record)} | {"torch"})
    facts = {
        "devices": [_device(record) for record in compared],
        "processors": [_processor(record) for record in compared],
        **{f"versions of {name}": [str(_versions(r).get(name, "unknown")) for r in compared] for name in libraries},
    }
    differing = [f"{name} ({', '.join(sorted(set(values)))})" for name, values in facts.items() if len(set(values)) > 1]
    if not differing:
        return []
    return [
        f"the cells ran on different {', '.join(differing)}: scores may differ in their last bits and are not paired "
        "to the bit; cost is not comparable"
    ]


def _device(record: Record) -> str:
    """Return the name of a cell's GPU, or the recipe's device where the record names none, as in older records."""
    return str(_environment(record, "machine").get("gpu") or record["recipe"].get("device", "cpu"))


def _processor(record: Record) -> str:
    machine = _environment(record, "machine")
    return str(machine.get("processor") or machine.get("architecture") or "unknown")


def _versions(record: Record) -> Mapping[str, object]:
    """Return the library versions of a cell."""
    return _environment(record, "versions")


def _environment(record: Record, part: str) -> Mapping[str, object]:
    """Return a part of a record's environment; empty where the record has none."""
    return (record.get("environment") or {}).get(part) or {}
