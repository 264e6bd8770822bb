"""The header of a record: all that is known of a cell before it runs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

from mtlbench.contract.entries import EnvironmentEntry
from mtlbench.plan.cells import Cell, Workload
from mtlbench.plugins.fingerprint import source_fingerprint
from mtlbench.plugins.registry import Registry
from mtlbench.records.record import SCHEMA, Record


def header(cell: Cell, workload: Workload, registry: Registry, environment: dict[str, Any]) -> Record:
    """Return a record with everything that is known before the cell runs; its worker completes it.

    :param environment: as :func:`mtlbench.host.provenance.environment` returns it.
    """
    method = registry.method(cell.method)
    recipe: Any = workload.recipe.model_dump(mode="json")
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
        "recipe": recipe,
        "tasks": workload.problem.describe(),
        "encoder": workload.problem.entry(),
        "engine": None,
        "cut": None,
        "seen": None,
        "floored": None,
        "pairing": None,
        "scores": {},
        "test_scores": None,
        "cost": {"seconds_per_step": None, "peak_memory_bytes": None},
        "conflict": None,
        "environment": cast(EnvironmentEntry, environment),
        "started": now(),
        "tries": 1,
        "seconds": None,
        "resumed": [],
        "error": None,
        "files": {},
    }


def now() -> str:
    """Return the current time in ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
