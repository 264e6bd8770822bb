"""Where the cells come from: what was left out, and what besides the method differs between cells that are compared."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from mtlbench.records.groups import Cells, Record, spec


def superseded(cells: Cells) -> list[str]:
    """Say how many records were left out."""
    if not cells.superseded:
        return []
    records = "1 older record" if cells.superseded == 1 else f"{cells.superseded} older records"
    verb = "is" if cells.superseded == 1 else "are"
    return [f"{records} of the same cells {verb} left out; the newest of each counts"]


def cautions(cells: Cells) -> list[str]:
    """Say where code, machine, libraries or recipe differ between cells: a difference may then be theirs."""
    found = []
    for method in cells.methods:
        sources = {record["method"].get("source_sha256") for record in cells.records if spec(record) == method}
        if len(sources) > 1:
            found.append(f"{method}: its source code differs between seeds ({len(sources)} versions)")
    found += _apart(list(cells.done.values()))
    recipes = {json.dumps(dict(record["recipe"]), sort_keys=True, default=str) for record in cells.records}
    if len(recipes) > 1:
        names = {name for record in cells.records for name in record["recipe"]}
        differing = [n for n in sorted(names) if len({str(r["recipe"].get(n)) for r in cells.records}) > 1]
        found.append(f"the cells of this group differ in their recipe: {', '.join(differing)}")
    return found


def _apart(compared: Sequence[Record]) -> list[str]:
    """Say in one line on which devices, processors and versions the compared cells ran, where these differ."""
    libraries = sorted({name for record in compared for name in _versions(record)} | {"torch"})
    facts = {
        "devices": [_device(record) for record in compared],
        "processors": [_processor(record) for record in compared],
        **{f"versions of {name}": [str(_versions(r).get(name, "unknown")) for r in compared] for name in libraries},
    }
    differing = [f"{what} ({', '.join(sorted(set(told)))})" for what, told in facts.items() if len(set(told)) > 1]
    if not differing:
        return []
    return [
        f"the cells ran on different {', '.join(differing)}: scores may differ in their last bits and are not paired "
        "to the bit; cost is not comparable"
    ]


def _device(record: Record) -> str:
    """Return the name of the GPU that a cell trained on, or what the recipe calls it: older records tell no more."""
    return str(_environment(record, "machine").get("gpu") or record["recipe"].get("device", "cpu"))


def _processor(record: Record) -> str:
    machine = _environment(record, "machine")
    return str(machine.get("processor") or machine.get("architecture") or "unknown")


def _versions(record: Record) -> Mapping[str, object]:
    """Return the versions of the libraries that a cell ran on."""
    return _environment(record, "versions")


def _environment(record: Record, part: str) -> Mapping[str, object]:
    """Return a part of what is known of where a cell ran; nothing in records that do not tell."""
    return (record.get("environment") or {}).get(part) or {}
