"""Synthetic records in the form that a training run writes."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

FLOORS = {"sst5": ("accuracy", "majority class", 0.253), "qqp": ("accuracy", "majority class", 0.625)}
METRICS = {"sst5": ["accuracy", "macro_f1"], "qqp": ["accuracy", "macro_f1"], "stsb": ["pearson", "spearman"]}
BASE = {"sst5": 0.40, "qqp": 0.75, "stsb": 0.60}
NASTY = "<script>alert(1)</script>"
"""A hostile method name."""
STARTED = "2026-01-01T00:{minute:02d}:00Z"


def record(
    method: str = "sum", seed: int = 0, *, gain: float = 0.0, scores: Any = None, **changes: Any
) -> dict[str, Any]:
    """Return the record of a finished cell.

    :param gain: added to every task's score, which otherwise depends only on the seed, apart from a little noise.
    :param scores: scores to use instead.
    :param changes: top-level fields to replace.
    """
    base = {
        "schema": 1,
        "key": f"{method}-{seed}",
        "group": "a" * 64,
        "status": "done",
        "suite": "quick",
        "seed": seed,
        "method": {
            "spec": method,
            "name": method.partition("[")[0],
            "parameters": {},
            "joint": method != "stl",
            "reads": "gram",
            "source_sha256": f"source of {method}",
        },
        "recipe": {"tasks": list(BASE), "model": "minilm[layers=3]", "steps": 60, "batch_size": 16, "lr": 5e-5},
        "tasks": {task: _task(task) for task in BASE},
        "encoder": {"spec": "minilm[layers=3]", "name": "all-MiniLM-L6-v2, first 3 layers", "tuned_on": ["quora"]},
        "pairing": _pairing(seed),
        "scores": scores or _scores(method, seed, gain),
        "cost": {"seconds_per_step": 0.31, "peak_memory_bytes": 850 * 2**20},
        "conflict": {"share": 0.2, "mean_cosine": 0.05} if method != "stl" else None,
        "environment": {"versions": {"mtlbench": "0.1.0", "torch": "2.13.0"}, "git": None, "machine": {}},
        "started": STARTED.format(minute=seed),
        "seconds": 55.1,
        "error": None,
        "files": {},
    }
    return copy.deepcopy({**base, **changes})


def failed(method: str, seed: int, message: str = "step 3: loss of task sst5 is nan") -> dict[str, Any]:
    """Return the record of a failed cell."""
    error = {"type": "CellError", "message": message, "step": 3, "task": "sst5"}
    return record(method, seed, scores={"none": {}}, status="failed", error=error) | {"scores": {}}


def grid(gains: dict[str, float], seeds: int) -> list[dict[str, Any]]:
    """Return the records of a complete grid."""
    return [record(method, seed, gain=gain) for method, gain in gains.items() for seed in range(seeds)]


def _scores(method: str, seed: int, gain: float) -> dict[str, dict[str, float]]:
    """Return scores whose variation is mostly shared by the methods of one seed, as in paired runs."""
    shared = np.random.default_rng(seed).normal(0, 0.02, 3)
    own = np.random.default_rng([seed, *method.encode()]).normal(0, 0.004, 3)
    values = np.array(list(BASE.values())) + shared + own + gain
    return {
        task: {metric: float(value) - 0.05 * index for index, metric in enumerate(METRICS[task])}
        for task, value in zip(BASE, values, strict=True)
    }


def _task(task: str) -> dict[str, Any]:
    """Return a task's description."""
    floors: dict[str, Any] = {metric: [{"name": "constant", "value": 0.0}] for metric in METRICS[task]}
    if task in FLOORS:
        metric, name, value = FLOORS[task]
        floors[metric] = [{"name": name, "value": value}, {"name": "random", "value": 0.2}]
    return {
        "spec": task,
        "prediction": "regression" if task == "stsb" else "classification",
        "metrics": METRICS[task],
        "train": 8544,
        "dev": 1101,
        "skipped": {"train": 0, "dev": 0},
        "source": "made up",
        "corpus": {"sst5": "sst", "qqp": "quora", "stsb": "sts"}[task],
        "fingerprint": f"data of {task}",
        "floors": floors,
    }


def _pairing(seed: int) -> dict[str, Any]:
    """Return the hashes that two methods of one seed share."""
    parts = {part: {task: f"{part} {task} {seed}" for task in BASE} for part in ("heads", "schedule", "dropout")}
    return {"shared": f"shared {seed}", **parts}
