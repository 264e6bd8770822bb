"""Validation of a task's rows, which may come from a plugin, so that later code can rely on their form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mtlbench.contract.task import Kind, Rows, Splits
from mtlbench.errors import UsageError, said, shown

FEWEST = {"classification": 1, "regression": 2, "multilabel": 1}
"""Minimal number of rows of a split; the correlation of one row is undefined."""
NUMBERS = {"classification": "iub", "regression": "iuf", "multilabel": "iufb"}
"""Kinds of numpy types that labels may have."""
REMEDY = {
    "classification": "give whole numbers, such as labels.astype(np.int64)",
    "regression": "give real numbers, such as labels.astype(np.float64)",
    "multilabel": "give (N, outputs) zeros and ones, such as labels.astype(np.int64)",
}

LEAVE = {
    "classification": "leave such rows out, or declare more outputs",
    "regression": "leave such rows out",
    "multilabel": "give 1 where the row has the label, else 0",
}


class Labelled(Protocol):
    """The properties of a task that its rows must match."""

    @property
    def key(self) -> str: ...
    @property
    def prediction(self) -> Kind: ...
    @property
    def outputs(self) -> int: ...


def checked_splits(task: Labelled, splits: Any) -> Splits:
    """Check the splits that a task has loaded; convert lists of labels to arrays, and lists of texts to tuples.

    :param task: the task.
    :param splits: the result of its ``load``.
    :returns: the splits; the same object if nothing had to be converted.
    :raises UsageError: for a fault, naming task, split, row and remedy.
    """
    if not isinstance(splits, Splits):
        raise UsageError(f"task {task.key}: load() returned {_kind(splits)}; return Splits(train, dev, source)")
    if not isinstance(splits.source, str):
        raise UsageError(
            f"task {task.key}: the source of its splits is {shown(splits.source)}; describe where the rows come from"
        )
    loaded = {"train": splits.train, "dev": splits.dev} | ({} if splits.test is None else {"test": splits.test})
    checked = {split: _checked(task, rows, f"task {task.key}, split {split}") for split, rows in loaded.items()}
    for split, rows in checked.items():
        if len(rows.texts[0]) != len(splits.train.texts[0]):
            raise UsageError(
                f"task {task.key}, split {split}: {_counted(rows.texts[0])} per row, but the training rows have "
                f"{len(splits.train.texts[0])}; give all rows the same number"
            )
    if all(checked[split] is rows for split, rows in loaded.items()):
        return splits
    return Splits(checked["train"], checked["dev"], splits.source, checked.get("test"))


def _checked(task: Labelled, rows: Any, where: str) -> Rows:
    if not isinstance(rows, Rows):
        raise UsageError(f"{where}: {_kind(rows)} instead of its rows; give Rows(texts, labels)")
    if isinstance(rows.skipped, bool) or not isinstance(rows.skipped, int | np.integer) or rows.skipped < 0:
        raise UsageError(f"{where}: skipped is {shown(rows.skipped)}; give the number of rows left out")
    texts = _texts(rows.texts, where)
    if len(texts) < FEWEST[task.prediction]:
        least = "a regression needs 2 or more" if len(texts) else "give at least one"
        raise UsageError(f"{where}: {len(texts) or 'no'} row{'' if len(texts) == 1 else 's'}; {least}")
    labels = _labels(task, rows.labels, len(texts), where)
    return rows if texts is rows.texts and labels is rows.labels else replace(rows, texts=texts, labels=labels)


def _texts(value: Any, where: str) -> Sequence[tuple[str, ...]]:
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise UsageError(f"{where}: its texts are {_kind(value)}; give a list of tuples, one or two texts per row")
    texts: Sequence[Any] = value
    if any(isinstance(row, list) for row in value):
        texts = [tuple(row) if isinstance(row, list) else row for row in value]
    for number, row in enumerate(texts):
        fault = _fault(row, len(texts[0]))
        if fault is not None:
            raise UsageError(f"{where}, row {number}: {fault}")
    return texts


def _fault(row: Any, width: int) -> str | None:
    """Return a description of what is wrong with a row's texts, and the remedy; ``None`` if nothing is."""
    if not isinstance(row, tuple):
        remedy = "write (text,)" if isinstance(row, str) else "give a tuple of one or two texts"
        return f"its texts are {_kind(row)}; {remedy}"
    if not 1 <= len(row) <= 2:
        return f"{_counted(row)}; give one or two"
    if len(row) != width:
        return f"{_counted(row)}, but row 0 has {width}; give all rows the same number"
    for text in row:
        if not isinstance(text, str):
            return f"its text is {_kind(text)}; give text, str(...) of it, or leave the row out"
        if not text or text.isspace():
            return "its text is empty; leave the row out, and count it in skipped"
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:
                return f"its text {shown(text)} holds half a surrogate pair, which no tokenizer takes"
    return None


def _labels(task: Labelled, value: Any, rows: int, where: str) -> NDArray[Any]:
    labels, kind = _array(value, where), task.prediction
    if labels.dtype.kind not in NUMBERS[kind]:
        items = labels.tolist() if labels.ndim else []
        row = next((row for row, item in enumerate(items) if not _is_number(item)), None)
        place = "" if row is None else f", row {row}: label {shown(items[row])}"
        raise UsageError(f"{where}{place}: its labels are of type {labels.dtype}; {REMEDY[kind]}")
    shape = (rows, task.outputs) if kind == "multilabel" else (rows,)
    if labels.shape != shape:
        if labels.ndim == len(shape) and len(labels) != rows:
            raise UsageError(f"{where}: {rows} texts and {len(labels)} labels; give one label per row")
        remedy = "give labels.ravel()" if labels.shape == (rows, 1) else REMEDY[kind]
        raise UsageError(f"{where}: its labels have the shape {labels.shape}, not {shape}; {remedy}")
    wrong, fault = _wrong(kind, labels, task.outputs)
    if wrong.any():
        first, count = int(wrong.argmax()), int(np.count_nonzero(wrong))
        more = f" (as in {count} rows)" if count > 1 else ""
        raise UsageError(f"{where}, row {first}: label {shown(labels[first].tolist())} is {fault}{more}; {LEAVE[kind]}")
    if kind == "classification" and not np.can_cast(labels.dtype, np.int64):  # np.bincount does not take uint64
        return labels.astype(np.int64)
    return labels.astype(np.float64) if kind == "regression" and labels is not value else labels


def _array(value: Any, where: str) -> NDArray[Any]:
    """Return labels as an array; accept lists, tuples, and objects that numpy can convert."""
    if np.ma.is_masked(value):
        raise UsageError(f"{where}: some of its labels are masked; leave such rows out")
    if isinstance(value, np.ndarray):
        return value
    try:
        return np.asarray(value)
    except Exception as error:  # ragged lists, tensors on a GPU, or any object of a plugin
        raise UsageError(
            f"{where}: its labels are {_kind(value)} that cannot be converted to an array: {said(error)}"
        ) from error


def _wrong(kind: Kind, labels: NDArray[Any], outputs: int) -> tuple[NDArray[np.bool_], str]:
    """Return (N,) whether each row's label is wrong, and a description of the fault."""
    if kind == "classification":
        return (labels < 0) | (labels >= outputs), f"not one of the classes 0 to {outputs - 1}"
    if kind == "regression":
        return ~np.isfinite(labels), "not a finite number"
    return np.asarray(~np.isin(labels, (0, 1)).all(axis=1)), "not of zeros and ones"


def _is_number(value: Any) -> bool:
    """Return whether an element is a number or a list, so that the message names the first element that is not."""
    return float(value).is_integer() if isinstance(value, float) else isinstance(value, int | list)


def _counted(row: Sequence[Any]) -> str:
    return f"{len(row)} text{'' if len(row) == 1 else 's'}"


def _kind(value: Any) -> str:
    """Return a description of a value's type."""
    if value is None:
        return "None"
    name = type(value).__name__
    return f"an object of type {name}" if not isinstance(value, str) else f"the plain string {shown(value)}"
