"""Scores by development row, from the predictions that lie beside a record."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from mtlbench.records.groups import Record
from mtlbench.records.record_file import read_side_file
from mtlbench.stats import Vector


def right_answers(record: Record) -> Mapping[str, Vector]:
    """Return, for every task whose primary metric is accuracy, (N,) 1 for a right answer and 0 for a wrong one.

    Empty where the predictions have no labels, as those of earlier versions, or cannot be read.
    """
    try:
        table = pd.read_parquet(io.BytesIO(read_side_file(dict(record), "predictions")))
        return _right(table, record["tasks"]) if "label" in table.columns else {}
    except (OSError, ValueError, KeyError, TypeError, NotImplementedError):
        return {}  # the report is told of rows that are missing, not of why


def _right(table: pd.DataFrame, tasks: Mapping[str, Any]) -> Mapping[str, Vector]:
    found = {}
    for task, rows in table.groupby("task", observed=True):
        if tasks[str(task)]["metrics"][0] == "accuracy":
            outputs = rows.pivot(index="row", columns="output", values="value").to_numpy()
            labels = rows.drop_duplicates("row").sort_values("row")["label"].to_numpy()
            found[str(task)] = (outputs.argmax(axis=1) == labels).astype(np.float64)
    return found
