"""Audit of a task's rows, without training: repeated and leaked rows, unusual labels. Part of every record."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtlbench.contract.task import Rows, Splits, Task


def audit(task: Task, splits: Splits) -> dict[str, int | None]:
    """Count oddities in a task's rows. Comparisons of texts ignore case and surrounding or repeated spaces.

    :param task: the task.
    :param splits: its rows.
    :returns: ``leaked``: development rows whose texts equal those of a training row; ``shared``: development rows with
        at least one text that occurs in the training rows; ``repeated``: training rows that repeat the texts of an
        earlier one; ``contradicted``: repeated rows whose label differs from the first one's; ``distinct``: number of
        different labels in the training rows; ``whole`` and ``whole_dev``: training and development rows whose label
        is a whole number; ``rarest``: the number of training rows of the rarest class or label that occurs in the
        development rows (``None`` for real numbers).
    """
    train, dev = plain(splits.train), plain(splits.dev)
    first: dict[tuple[str, ...], int] = {}
    for row, texts in enumerate(train):
        first.setdefault(texts, row)
    labels = splits.train.labels
    repeats = [(row, first[texts]) for row, texts in enumerate(train) if first[texts] != row]
    train_texts = {text for texts in train for text in texts}
    rarest = None
    if task.prediction != "regression":
        train_counts, dev_counts = (_counts(rows, task.outputs) for rows in (splits.train, splits.dev))
        rarest = min(train_counts[dev_counts > 0].tolist(), default=None)
    return {
        "leaked": sum(texts in first for texts in dev),
        "shared": sum(any(text in train_texts for text in texts) for texts in dev),
        "repeated": len(repeats),
        "contradicted": sum(bool(np.any(labels[row] != labels[original])) for row, original in repeats),
        "distinct": len(np.unique(labels, axis=0)),
        "whole": _whole(splits.train),
        "whole_dev": _whole(splits.dev),
        "rarest": rarest,
    }


def _whole(rows: Rows) -> int:
    return int((rows.labels == np.round(rows.labels)).reshape(len(rows), -1).all(axis=1).sum())


def _counts(rows: Rows, outputs: int) -> NDArray[np.int64]:
    """Return the number of rows of each class or label."""
    labels = rows.labels.astype(np.int64)
    return labels.sum(axis=0) if labels.ndim == 2 else np.bincount(labels, minlength=outputs)


def plain(rows: Rows) -> list[tuple[str, ...]]:
    """Return every row's texts in lower case, without surrounding or repeated spaces."""
    return [tuple(" ".join(text.lower().split()) for text in texts) for texts in rows.texts]
