"""Where the cells come from: what was left out, and what besides the method differs between cells that are compared."""

from __future__ import annotations

import json
from collections.abc import Mapping

from mtlbench.report.records import Cells, Record, spec


def superseded(cells: Cells) -> list[str]:
    """Say how many records were left out."""
    if not cells.superseded:
        return []
    records = "1 older record" if cells.superseded == 1 else f"{cells.superseded} older records"
    verb = "is" if cells.superseded == 1 else "are"
    return [f"{records} of the same cells {verb} left out; the newest of each counts"]


def cautions(cells: Cells) -> list[str]:
    """Say where code, libraries or recipe differ between cells: a difference of scores may then be theirs."""
    found = []
    for method in cells.methods:
        sources = {record["method"].get("source_sha256") for record in cells.records if spec(record) == method}
        if len(sources) > 1:
            found.append(f"{method}: its source code differs between seeds ({len(sources)} versions)")
    for library in sorted({name for record in cells.records for name in _versions(record)} | {"torch"}):
        versions = {str(_versions(record).get(library, "unknown")) for record in cells.records}
        if len(versions) > 1:
            found.append(f"the cells ran on different versions of {library}: {', '.join(sorted(versions))}")
    recipes = {json.dumps(dict(record["recipe"]), sort_keys=True, default=str) for record in cells.records}
    if len(recipes) > 1:
        names = {name for record in cells.records for name in record["recipe"]}
        differing = [n for n in sorted(names) if len({str(r["recipe"].get(n)) for r in cells.records}) > 1]
        found.append(f"the cells of this group differ in their recipe: {', '.join(differing)}")
    return found


def _versions(record: Record) -> Mapping[str, object]:
    """Return the versions of the libraries that a cell ran on."""
    return (record.get("environment") or {}).get("versions") or {}
