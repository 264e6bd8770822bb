"""The record of one cell: plain data, one JSON object. docs/records.md describes every field."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from mtlbench.contract.task import Splits, Task
from mtlbench.plan.cells import Cell, Workload
from mtlbench.plugins.registry import Registry, source_fingerprint
from mtlbench.text.floors import floors
from mtlbench.text.row_audit import audit

SCHEMA = 1

Record = dict[str, Any]


def describe_tasks(workload: Workload) -> dict[str, Any]:
    """Return each task's rows, source, trivial floors and oddities, by the task's key."""
    return {
        task.key: {
            "spec": task.spec,
            "prediction": task.prediction,
            "metrics": list(task.metrics),
            "train": len(splits.train),
            "dev": len(splits.dev),
            "skipped": {"train": splits.train.skipped, "dev": splits.dev.skipped},
            "source": splits.source,
            "corpus": task.corpus,
            "fingerprint": splits.fingerprint,
            "floors": floors(task, splits),
            "audit": audit(task, splits),
            "test": _describe_test(task, splits),
        }
        for task, splits in zip(workload.tasks, workload.splits, strict=True)
    }


def _describe_test(task: Task, splits: Splits) -> dict[str, Any] | None:
    """Return the rows and floors of the test split, if there is one."""
    if splits.test is None:
        return None
    return {"rows": len(splits.test), "floors": floors(task, replace(splits, dev=splits.test))}


def header(
    cell: Cell, workload: Workload, registry: Registry, tasks: dict[str, Any], environment: dict[str, Any]
) -> Record:
    """Return what is known of a cell before it runs; the rest of its record is filled in when it ends."""
    method = registry.method(cell.method)
    return {
        "schema": SCHEMA,
        "key": cell.key,
        "group": cell.group,
        "status": "failed",
        "suite": cell.suite,
        "seed": cell.seed,
        "method": {
            "spec": method.spec,
            "name": method.name,
            "parameters": method.parameters,
            "joint": method.joint,
            "reads": method.reads,
            "heads": method.heads,
            "source_sha256": source_fingerprint(type(method)),
        },
        "recipe": workload.recipe.model_dump(mode="json"),
        "tasks": tasks,
        "encoder": {
            "spec": workload.encoder.spec,
            "name": workload.files.title,
            "fingerprint": workload.files.fingerprint,
            "tuned_on": list(workload.files.tuned_on),
        },
        "engine": None,
        "cut": None,
        "seen": None,
        "floored": None,
        "pairing": None,
        "scores": {},
        "test_scores": None,
        "cost": {"seconds_per_step": None, "peak_memory_bytes": None},
        "conflict": None,
        "environment": environment,
        "started": now(),
        "tries": 1,
        "seconds": None,
        "resumed": [],
        "error": None,
        "files": {},
    }


def now() -> str:
    """Return the time in ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
