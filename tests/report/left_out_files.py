"""Records as ``merge --without`` leaves them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mtlbench.records.left_out import KINDS


def without(records: Iterable[dict[str, Any]], *kinds: str) -> list[dict[str, Any]]:
    """Return the records without their side files of some kinds; they say so."""
    names = [name for kind in kinds for name in KINDS[kind]]
    entry = {"name": "gone", "bytes": 1, "sha256": "0"}
    return [
        {
            **one,
            "files": {name: file for name, file in one["files"].items() if name not in names},
            "left_out": {name: one["files"].get(name, entry) for name in names},
        }
        for one in records
    ]
