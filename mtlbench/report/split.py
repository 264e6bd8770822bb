"""Records with the scores of the test split in place of the development rows, for the same report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mtlbench.errors import UsageError
from mtlbench.records.groups import Cells, Record, collect
from mtlbench.report.result import Report


def cells_by_group(report: Report, records: Sequence[Record]) -> dict[str, Cells]:
    """Return the cells of every group of a report, with the scores of the split that it reports on.

    :param report: the report.
    :param records: the records that it was built from.
    """
    test = any(group.split == "test" for group in report.groups)
    return {cells.group: cells for cells in collect(on_test(records) if test else records)}


def on_test(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Return the records that have a test split, with its scores, floors and predictions in place of dev's.

    Histories do not change: during training only the development rows are scored.

    :param records: records of any cells.
    :raises UsageError: when no record has a test split.
    """
    replaced = [
        {
            **record,
            "split": "test",
            "scores": record.get("test_scores") or {},
            "tasks": {name: _on_test(task) for name, task in record["tasks"].items()},
            "files": _files(record.get("files", {})),
            "left_out": _files(record.get("left_out", {})),
        }
        for record in records
        if record.get("tasks") and all(task.get("test") for task in record["tasks"].values())
    ]
    if records and not replaced:
        raise UsageError("no record has a test split; give the suite test_rows = N, and run it again")
    return replaced


def _on_test(task: dict[str, Any]) -> dict[str, Any]:
    return {**task, "dev": task["test"]["rows"], "floors": task["test"]["floors"]}


def _files(files: dict[str, Any]) -> dict[str, Any]:
    others = {name: entry for name, entry in files.items() if name not in ("predictions", "test_predictions")}
    return others | ({"predictions": files["test_predictions"]} if "test_predictions" in files else {})
