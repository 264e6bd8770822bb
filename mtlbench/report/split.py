"""The test split in place of the development rows: the same report, from what every cell was scored on once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mtlbench.errors import UsageError
from mtlbench.records.groups import Record


def on_test(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Return the records of cells with a test split, its scores, floors and predictions in the place of dev's.

    Histories stay as they are: along the training only the development rows are scored.

    :raises UsageError: when no record has a test split.
    """
    found = [
        {
            **record,
            "split": "test",
            "scores": record.get("test_scores") or {},
            "tasks": {name: _on_test(task) for name, task in record["tasks"].items()},
            "files": _files(record.get("files", {})),
        }
        for record in records
        if record.get("tasks") and all(task.get("test") for task in record["tasks"].values())
    ]
    if records and not found:
        raise UsageError("no record has a test split; give the suite test_rows = N, and run it again")
    return found


def _on_test(task: dict[str, Any]) -> dict[str, Any]:
    return {**task, "dev": task["test"]["rows"], "floors": task["test"]["floors"]}


def _files(files: dict[str, Any]) -> dict[str, Any]:
    kept = {what: entry for what, entry in files.items() if what not in ("predictions", "test_predictions")}
    return kept | ({"predictions": files["test_predictions"]} if "test_predictions" in files else {})
