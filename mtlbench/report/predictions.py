"""Scores by development row, computed from the predictions file beside a record."""

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
    """Return 1 for each right answer and 0 for each wrong one, by task with accuracy as its primary metric.

    :param record: a finished record, with its ``path``.
    :returns: (N,) values by task; empty if the predictions have no labels, as in earlier versions, or cannot be read.
    """
    try:
        table = pd.read_parquet(io.BytesIO(read_side_file(dict(record), "predictions")))
        return _right(table, record["tasks"]) if "label" in table.columns else {}
    except (OSError, ValueError, KeyError, TypeError, NotImplementedError):
        return {}  # the report says that scores by row are missing, not why


def _right(table: pd.DataFrame, tasks: Mapping[str, Any]) -> Mapping[str, Vector]:
    answers = {}
    for task, rows in table.groupby("task", observed=True):
        if tasks[str(task)]["metrics"][0] == "accuracy":
            outputs = rows.pivot(index="row", columns="output", values="value").to_numpy()
            labels = rows.drop_duplicates("row").sort_values("row")["label"].to_numpy()
            answers[str(task)] = (outputs.argmax(axis=1) == labels).astype(np.float64)
    return answers
