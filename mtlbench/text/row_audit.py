"""What can be told of a task's rows without training: repeated and leaked rows, odd labels. It goes into the record."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtlbench.contract.task import Rows, Splits, Task


def audit(task: Task, splits: Splits) -> dict[str, int | None]:
    """Count what is odd about a task's rows. Texts are compared without case and outer or doubled spaces.

    :returns: ``leaked``: development rows whose texts are those of a training row; ``shared``: those of which at least
        one text is in the training rows; ``repeated``: training rows that repeat an earlier one's texts, and
        ``contradicted``: those of them with another label than the first; ``distinct``: labels of the training rows;
        ``whole`` and ``whole_dev``: training and development rows whose label is a whole number; ``rarest``: for
        classes and labels, the fewest training rows of one that the development rows have.
    """
    train, dev = plain(splits.train), plain(splits.dev)
    first: dict[tuple[str, ...], int] = {}
    for row, texts in enumerate(train):
        first.setdefault(texts, row)
    labels = splits.train.labels
    again = [(row, first[texts]) for row, texts in enumerate(train) if first[texts] != row]
    single = {text for texts in train for text in texts}
    rarest = None
    if task.prediction != "regression":
        counts, wanted = (_counts(rows, task.outputs) for rows in (splits.train, splits.dev))
        rarest = min(counts[wanted > 0].tolist(), default=None)
    return {
        "leaked": sum(texts in first for texts in dev),
        "shared": sum(any(text in single for text in texts) for texts in dev),
        "repeated": len(again),
        "contradicted": sum(bool(np.any(labels[row] != labels[one])) for row, one in again),
        "distinct": len(np.unique(labels, axis=0)),
        "whole": _whole(splits.train),
        "whole_dev": _whole(splits.dev),
        "rarest": rarest,
    }


def _whole(rows: Rows) -> int:
    return int((rows.labels == np.round(rows.labels)).reshape(len(rows), -1).all(axis=1).sum())


def _counts(rows: Rows, outputs: int) -> NDArray[np.int64]:
    """Return how many rows have each class or label."""
    labels = rows.labels.astype(np.int64)
    return labels.sum(axis=0) if labels.ndim == 2 else np.bincount(labels, minlength=outputs)


def plain(rows: Rows) -> list[tuple[str, ...]]:
    """Return every row's texts without case and outer or doubled spaces."""
    return [tuple(" ".join(text.lower().split()) for text in texts) for texts in rows.texts]
