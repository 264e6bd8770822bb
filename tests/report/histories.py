"""Synthetic histories beside the factory's records, in the form that a training run writes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

STEPS, EVERY = 12, 3


def with_histories(records: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """Write a history for each record and return the records with their paths."""
    placed = []
    for number, record in enumerate(records):
        name = f"{number}.history.jsonl"
        text = "\n".join(json.dumps(row) for row in rows(record))
        (folder / name).write_text(text, encoding="utf-8")
        files = {"history": {"name": name, "bytes": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}}
        placed.append({**record, "path": str(folder / f"{number}.json"), "files": files})
    return placed


def rows(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a short history that ends at the record's scores."""
    random = np.random.default_rng([record["seed"], *record["method"]["spec"].encode()])
    tasks = list(record["tasks"])
    joint = record["method"]["joint"]
    history: list[dict[str, Any]] = []
    for step in range(1, STEPS + 1):
        row: dict[str, Any] = {
            "step": step,
            "losses": dict.fromkeys(tasks, 2.0 / step),
            "seconds": 0.5,
            "weights": dict(zip(tasks, random.uniform(0.1, 1.0, len(tasks)).tolist(), strict=True)),
        }
        if step % EVERY == 0:
            row["norms"] = dict(zip(tasks, random.uniform(0.5, 2.0, len(tasks)).tolist(), strict=True))
            pairs = [f"{a}|{b}" for i, a in enumerate(tasks) for b in tasks[i + 1 :]] if joint else []
            row["cosines"] = {pair: float(random.uniform(-1, 1)) for pair in pairs}
        history.append(row)
        if step in (STEPS // 2, STEPS):
            history.append({"step": step, "scores": record["scores"], "elapsed": 0.5 * step})
    return history
