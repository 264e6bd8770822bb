"""Scores by development row, computed from the predictions file beside a record."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mtlbench.records.groups import Record
from mtlbench.records.outputs import read_outputs
from mtlbench.stats import Vector


def right_answers(record: Record) -> Mapping[str, Vector]:
    """Return 1 for each right answer and 0 for each wrong one, by task with accuracy as its primary metric.

    :param record: a finished record, with its ``path``.
    :returns: (N,) values by task; empty if the predictions have no labels, as in earlier versions, or cannot be read:
        the report says that scores by row are missing, not why.
    """
    outputs = read_outputs(record)
    return {
        task: (values.argmax(axis=1) == labels[:, 0]).astype(np.float64)
        for task, (values, labels) in outputs.items()
        if task in record["tasks"] and record["tasks"][task]["metrics"][0] == "accuracy"
    }
