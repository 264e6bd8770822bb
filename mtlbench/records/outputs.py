"""Outputs and labels on the development rows, from the predictions file beside a record."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
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
        table = pq.read_table(io.BytesIO(read_side_file(record, "predictions")), use_threads=False)
        if "label" not in table.column_names:
            return {}
        columns = {name: table.column(name).to_numpy() for name in ("row", "output", "value", "label")}
        tasks = table.column("task").to_pandas().astype("category")
        return {
            str(task): _wide(_of(columns, tasks.cat.codes.to_numpy() == code))
            for code, task in enumerate(tasks.cat.categories)
        }
    except (OSError, ValueError, KeyError, TypeError, NotImplementedError):
        return {}


def _of(columns: Mapping[str, Any], chosen: Any) -> dict[str, Any]:
    """Return a task's lines, without a copy where they follow one another."""
    places = np.flatnonzero(chosen)
    first, last = places[0], places[-1] + 1
    part: Any = slice(first, last) if last - first == len(places) else places
    return {name: values[part] for name, values in columns.items()}


def _wide(columns: Mapping[str, Any]) -> TaskOutputs:
    """Return a task's lines as arrays. Files as they are written have all outputs of row 0, of row 1, and so on."""
    row, output = columns["row"], columns["output"]
    width = int(np.argmax(row != row[0])) or len(row)
    if len(row) % width == 0:
        by_row, by_output = row.reshape(-1, width), output.reshape(-1, width)
        regular = (by_row == by_row[:, :1]).all() and (by_output == by_output[:1]).all()
        if regular and (np.diff(by_row[:, 0]) > 0).all() and (np.diff(by_output[0]) > 0).all():
            values, labels = (
                np.asarray(columns[name], np.float64).reshape(by_row.shape) for name in ("value", "label")
            )
            return TaskOutputs(values, labels)
    wide = (pd.DataFrame(columns).pivot(index="row", columns="output", values=name) for name in ("value", "label"))
    return TaskOutputs(*(table.to_numpy(dtype=np.float64) for table in wide))
