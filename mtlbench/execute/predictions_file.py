"""The file of a cell's predictions on one split."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def parquet(by_task: Mapping[str, NDArray[np.float32]], labels: Mapping[str, NDArray[Any]]) -> bytes:
    """Return a split's raw outputs as Parquet: task, row number, output number, value and label.

    If rows have several labels, the column holds 1 or 0: whether the row has the label of the output.
    """
    frames: list[Any] = []
    names = pd.Index(sorted(by_task))
    for task, outputs in by_task.items():
        rows, columns = np.indices(outputs.shape)
        values = np.asarray(labels[task], dtype=np.float64)
        frames.append(
            pd.DataFrame(
                {
                    "task": pd.Categorical.from_codes(
                        np.full(outputs.size, names.get_loc(task), dtype=np.int64), names
                    ),
                    "row": rows.ravel().astype("int32"),
                    "output": columns.ravel().astype("int16"),
                    "value": outputs.ravel(),
                    "label": np.broadcast_to(values.reshape(len(values), -1), outputs.shape).ravel(),
                }
            )
        )
    buffer = io.BytesIO()
    pd.concat(frames).to_parquet(buffer, index=False, compression="zstd")
    return buffer.getvalue()
