"""Outputs and labels on the development rows, from the predictions file beside a record."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mtlbench.records.record_file import read_side_file

Numbers = NDArray[np.float64]


class TaskOutputs(NamedTuple):
    """Outputs and labels of one task, rows in order."""

    values: Numbers
    """(N, outputs) raw outputs."""
    labels: Numbers
    """(N, outputs): the row's label repeated for each output, or a label for each output."""


def read_outputs(record: Mapping[str, Any]) -> dict[str, TaskOutputs]:
    """Return the outputs by task; empty if there are none, they cannot be read, or have no labels as in early versions.

    :param record: a finished record, with its ``path``.
    """
    try:
        table = pd.read_parquet(io.BytesIO(read_side_file(record, "predictions")))
        if "label" not in table.columns:
            return {}
        return {str(task): _wide(rows) for task, rows in table.groupby("task", observed=True)}
    except (OSError, ValueError, KeyError, TypeError, NotImplementedError):
        return {}


def _wide(rows: pd.DataFrame) -> TaskOutputs:
    """Return a task's table as arrays. Files as they are written have all outputs of row 0, of row 1, and so on."""
    row, output = rows["row"].to_numpy(), rows["output"].to_numpy()
    width = int(np.searchsorted(row, row[0], side="right"))
    if len(row) % width == 0:
        by_row, by_output = row.reshape(-1, width), output.reshape(-1, width)
        regular = (by_row == by_row[:, :1]).all() and (by_output == by_output[:1]).all()
        if regular and (np.diff(by_row[:, 0]) > 0).all() and (np.diff(by_output[0]) > 0).all():
            shape = by_row.shape
            values, labels = (rows[name].to_numpy(dtype=np.float64).reshape(shape) for name in ("value", "label"))
            return TaskOutputs(values, labels)
    wide = (rows.pivot(index="row", columns="output", values=name) for name in ("value", "label"))
    return TaskOutputs(*(table.to_numpy(dtype=np.float64) for table in wide))
