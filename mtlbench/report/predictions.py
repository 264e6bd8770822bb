"""Scores by development row, from the predictions that lie beside a record."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from mtlbench.report.records import Record
from mtlbench.stats import Vector


def right_answers(record: Record) -> Mapping[str, Vector]:
    """Return, for every task whose primary metric is accuracy, (N,) 1 for a right answer and 0 for a wrong one.

    Empty where the predictions have no labels, as those of earlier versions, or cannot be read.
    """
    file = (record.get("files") or {}).get("predictions")
    if file is None:
        return {}
    try:
        table = pd.read_parquet(Path(record["path"]).parent / file["name"])
    except (OSError, ValueError):  # the report is told of rows that are missing, not of why
        return {}
    if "label" not in table.columns:
        return {}
    found = {}
    for task, rows in table.groupby("task", observed=True):
        if record["tasks"][task]["metrics"][0] == "accuracy":
            outputs = rows.pivot(index="row", columns="output", values="value").to_numpy()
            labels = rows.drop_duplicates("row").sort_values("row")["label"].to_numpy()
            found[str(task)] = (outputs.argmax(axis=1) == labels).astype(np.float64)
    return found
