"""Audit of a problem's rows, without training: repeated and leaked rows, unusual labels. Part of every record."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mtlbench.contract.entries import AuditEntry
from mtlbench.contract.examples import as_array
from mtlbench.contract.problem import Target
from mtlbench.problem.splits import Split


def row_codes(split: Split) -> NDArray[np.uint64] | None:
    """Return (N,) hashes of the rows' inputs: rows with equal inputs have the same.

    :param split: the rows.
    :returns: ``None`` for inputs that an object reads on demand: to compare them, all would have to be read.
    """
    parts = _parts(split.examples.inputs)
    if parts is None:
        return None
    codes = np.empty(len(split), dtype=np.uint64)
    for place, row in enumerate(split.rows):
        digest = hashlib.blake2b(digest_size=8)
        for part in parts:
            digest.update(part[row].tobytes())
        codes[place] = int.from_bytes(digest.digest(), "little")
    return codes


def _parts(inputs: Any) -> list[NDArray[Any]] | None:
    """Return the arrays of all inputs, by the order of their names; ``None`` where something else is among them."""
    if isinstance(inputs, Mapping):
        nested = [_parts(inputs[name]) for name in sorted(inputs)]
        return None if None in nested else [part for parts in nested if parts is not None for part in parts]
    if isinstance(inputs, torch.Tensor):
        return [as_array(inputs)]
    return [inputs] if isinstance(inputs, np.ndarray) else None


def audit(
    target: Target,
    train: Split,
    dev: Split,
    train_codes: NDArray[np.uint64] | None,
    dev_codes: NDArray[np.uint64] | None,
) -> AuditEntry:
    """Count oddities in the rows that have a label of a task.

    :param target: the task.
    :param train: training rows.
    :param dev: development rows.
    :param train_codes: hashes of the training rows, see :func:`row_codes`.
    :param dev_codes: hashes of the development rows.
    :returns: ``leaked``, ``repeated`` and ``contradicted`` only where both have hashes.
    """
    labels, dev_labels = train.scored(target), dev.scored(target)
    entry: AuditEntry = {
        "distinct": len(np.unique(labels, axis=0)),
        "whole": _whole(labels),
        "whole_dev": _whole(dev_labels),
        "rarest": None,
    }
    if target.prediction != "regression":
        counts, dev_counts = (_counts(values, target.outputs) for values in (labels, dev_labels))
        entry["rarest"] = min(counts[dev_counts > 0].tolist(), default=None)
    if train_codes is None or dev_codes is None:
        return entry
    codes = train_codes[train.labelled[target.name]]
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    original = first[inverse]
    repeats = np.flatnonzero(original != np.arange(len(codes)))
    others = labels[repeats] != labels[original[repeats]]
    entry["leaked"] = int(np.isin(dev_codes[dev.labelled[target.name]], codes).sum())
    entry["repeated"], entry["contradicted"] = len(repeats), int(_by_row(others).any(axis=1).sum())
    return entry


def _whole(labels: NDArray[Any]) -> int:
    return int(_by_row(labels == np.round(labels)).all(axis=1).sum())


def _by_row(values: NDArray[Any]) -> NDArray[Any]:
    """Return (N, C) values, C being 1 where a row has one number."""
    return values[:, None] if values.ndim == 1 else values


def _counts(labels: NDArray[Any], outputs: int) -> NDArray[np.int64]:
    """Return the number of rows of each class or label."""
    return labels.sum(axis=0) if labels.ndim == 2 else np.bincount(labels, minlength=outputs)
