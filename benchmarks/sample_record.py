"""Whole records to break: with what every reader relies on, and with all that a real one has."""

from __future__ import annotations

import json
from typing import Any


def task(name: str) -> dict[str, Any]:
    """Return a task's description with what every reader relies on, and no more."""
    return {"spec": name, "prediction": "classification", "train": 9, "dev": 9, "metrics": ["accuracy"], "floors": {}}


def record(seed: int = 0, status: str = "done", key: str = "a" * 64, spec: str = "cagrad[c=0.4]") -> dict[str, Any]:
    """Return a record with what every reader relies on, and no more."""
    return {
        "schema": 1,
        "key": key,
        "group": "c" * 64,
        "suite": "tiny",
        "seed": seed,
        "status": status,
        "method": {"spec": spec, "name": spec.partition("[")[0], "joint": True, "reads": "gram"},
        "recipe": {"tasks": ["a"], "steps": 3},
        "tasks": {"a": task("a")},
        "encoder": {},
        "pairing": None,
        "scores": {},
        "cost": {"seconds_per_step": None, "peak_memory_bytes": None},
        "conflict": None,
        "environment": {},
        "started": "2026-01-01T00:00:00.000Z",
        "seconds": 1.0,
        "error": None,
        "files": {},
    }


def full(seed: int, spec: str = "sum") -> Any:
    """Return a record with all that a real one has where changes may hurt."""
    one = record(seed, key=f"{seed}{spec[0]}" * 32, spec=spec)
    one["tasks"] = {"a": {**task("a"), "floors": {"accuracy": [{"name": "random", "value": 0.3}]}, "corpus": "c"}}
    one["encoder"] = {"spec": "m", "name": "m", "fingerprint": "f", "tuned_on": ["c"]}
    one["pairing"] = {"shared": "s", "heads": {"a": "h"}, "schedule": {"a": "b"}, "dropout": {"a": "d"}}
    one["conflict"] = {"share": 0.5, "mean_cosine": 0.1}
    one["cost"] = {"seconds_per_step": 0.1, "peak_memory_bytes": 5}
    one["environment"] = {"versions": {"torch": "2"}, "machine": {"processor": "p", "gpu": None}}
    return {**one, "scores": {"a": {"accuracy": 0.5 + 0.01 * seed}}, "cut": {"a": {"tokens": 9, "train": 0, "dev": 0}}}


STEP = {
    "step": 1,
    "losses": {"a": 1.0},
    "weights": {"a": 1.0},
    "norms": {"a": 1.0},
    "cosines": {},
    "seconds": 0.1,
}
EVALUATION = {"step": 1, "scores": {"a": {"accuracy": 0.5}}, "elapsed": 0.1}
"""With :data:`STEP`, the two kinds of rows of a history."""


def history(*rows: dict[str, Any]) -> dict[str, tuple[str, bytes]]:
    """Return a history as the side file of a record, see :meth:`mtlbench.records.store.Store.save`."""
    return {"history": ("jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode())}
