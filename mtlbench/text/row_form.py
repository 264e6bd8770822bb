"""The form of a task's rows: what everything that reads them relies on. A task may be anybody's code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mtlbench.contract.task import Kind, Rows, Splits
from mtlbench.errors import UsageError, said, shown

FEWEST = {"classification": 1, "regression": 2, "multilabel": 1}
"""Rows that a split must have: a correlation of one row is not defined."""
NUMBERS = {"classification": "iub", "regression": "iuf", "multilabel": "iufb"}
"""Kinds of numpy's types that labels may have."""
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
    """What of a task its rows must fit."""

    @property
    def key(self) -> str: ...
    @property
    def prediction(self) -> Kind: ...
    @property
    def outputs(self) -> int: ...


def checked_splits(task: Labelled, splits: Any) -> Splits:
    """Return the splits that a task has loaded, lists of labels as arrays and lists of texts as tuples.

    What is right already stays the same object.

    :raises UsageError: naming task, split, row and remedy.
    """
    if not isinstance(splits, Splits):
        raise UsageError(f"task {task.key}: load() returned {_kind(splits)}; return Splits(train, dev, source)")
    if not isinstance(splits.source, str):
        raise UsageError(
            f"task {task.key}: the source of its splits is {shown(splits.source)}; say in words where from"
        )
    given = {"train": splits.train, "dev": splits.dev} | ({} if splits.test is None else {"test": splits.test})
    made = {split: _checked(task, rows, f"task {task.key}, split {split}") for split, rows in given.items()}
    for split, rows in made.items():
        if len(rows.texts[0]) != len(splits.train.texts[0]):
            raise UsageError(
                f"task {task.key}, split {split}: {_counted(rows.texts[0])} a row, but the training rows have "
                f"{len(splits.train.texts[0])}; give all rows as many"
            )
    if all(made[split] is rows for split, rows in given.items()):
        return splits
    return Splits(made["train"], made["dev"], splits.source, made.get("test"))


def _checked(task: Labelled, rows: Any, where: str) -> Rows:
    if not isinstance(rows, Rows):
        raise UsageError(f"{where}: {_kind(rows)} in the place of its rows; give Rows(texts, labels)")
    if isinstance(rows.skipped, bool) or not isinstance(rows.skipped, int | np.integer) or rows.skipped < 0:
        raise UsageError(f"{where}: skipped is {shown(rows.skipped)}; give the number of rows left out")
    texts = _texts(rows.texts, where)
    if len(texts) < FEWEST[task.prediction]:
        least = "a regression needs 2 or more" if len(texts) else "give at least one"
        raise UsageError(f"{where}: {len(texts) or 'no'} row{'' if len(texts) == 1 else 's'}; {least}")
    labels = _labels(task, rows.labels, len(texts), where)
    return rows if texts is rows.texts and labels is rows.labels else replace(rows, texts=texts, labels=labels)


def _texts(given: Any, where: str) -> Sequence[tuple[str, ...]]:
    if isinstance(given, np.ndarray):
        given = given.tolist()
    if isinstance(given, str | bytes) or not isinstance(given, Sequence):
        raise UsageError(f"{where}: its texts are {_kind(given)}; give a list of tuples, one or two texts a row")
    texts: Sequence[Any] = given
    if any(isinstance(row, list) for row in given):
        texts = [tuple(row) if isinstance(row, list) else row for row in given]
    for number, row in enumerate(texts):
        fault = _fault(row, len(texts[0]))
        if fault is not None:
            raise UsageError(f"{where}, row {number}: {fault}")
    return texts


def _fault(row: Any, width: int) -> str | None:
    """Return what is wrong with a row's texts, and what to do."""
    if not isinstance(row, tuple):
        remedy = "write (text,)" if isinstance(row, str) else "give a tuple of one or two texts"
        return f"its texts are {_kind(row)}; {remedy}"
    if not 1 <= len(row) <= 2:
        return f"{_counted(row)}; give one or two"
    if len(row) != width:
        return f"{_counted(row)}, but row 0 has {width}; give all rows as many"
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


def _labels(task: Labelled, given: Any, rows: int, where: str) -> NDArray[Any]:
    labels, kind = _array(given, where), task.prediction
    if labels.dtype.kind not in NUMBERS[kind]:
        odd = next((n for n, one in enumerate(labels.tolist()) if not _is_number(one)), None) if labels.ndim else None
        place = "" if odd is None else f", row {odd}: label {shown(labels.tolist()[odd])}"
        raise UsageError(f"{where}{place}: its labels are of type {labels.dtype}; {REMEDY[kind]}")
    wanted = (rows, task.outputs) if kind == "multilabel" else (rows,)
    if labels.shape != wanted:
        if labels.ndim == len(wanted) and len(labels) != rows:
            raise UsageError(f"{where}: {rows} texts and {len(labels)} labels; give one label a row")
        remedy = "give labels.ravel()" if labels.shape == (rows, 1) else REMEDY[kind]
        raise UsageError(f"{where}: its labels have the shape {labels.shape}, not {wanted}; {remedy}")
    wrong, what = _wrong(kind, labels, task.outputs)
    if wrong.any():
        first, count = int(wrong.argmax()), int(np.count_nonzero(wrong))
        more = f" (as in {count} rows)" if count > 1 else ""
        raise UsageError(f"{where}, row {first}: label {shown(labels[first].tolist())} is {what}{more}; {LEAVE[kind]}")
    if kind == "classification" and not np.can_cast(labels.dtype, np.int64):  # uint64: nothing counts in it
        return labels.astype(np.int64)
    return labels.astype(np.float64) if kind == "regression" and labels is not given else labels


def _array(given: Any, where: str) -> NDArray[Any]:
    """Return labels as an array: lists, tuples, and what other libraries can give as one."""
    if np.ma.is_masked(given):
        raise UsageError(f"{where}: some of its labels are masked; leave such rows out")
    if isinstance(given, np.ndarray):
        return given
    try:
        return np.asarray(given)
    except Exception as error:  # ragged lists; tensors on a GPU; whatever an object does
        raise UsageError(f"{where}: its labels are {_kind(given)} that makes no array: {said(error)}") from error


def _wrong(kind: Kind, labels: NDArray[Any], outputs: int) -> tuple[NDArray[np.bool_], str]:
    """Return (N,) whether a row's label is wrong, and what it then is."""
    if kind == "classification":
        return (labels < 0) | (labels >= outputs), f"none of the classes 0 to {outputs - 1}"
    if kind == "regression":
        return ~np.isfinite(labels), "not a finite number"
    return np.asarray(~np.isin(labels, (0, 1)).all(axis=1)), "not of zeros and ones"


def _is_number(value: Any) -> bool:
    """Whether an element of labels of a wrong type is one that they should be: the others are worth naming."""
    return float(value).is_integer() if isinstance(value, float) else isinstance(value, int | list)


def _counted(row: Sequence[Any]) -> str:
    return f"{len(row)} text{'' if len(row) == 1 else 's'}"


def _kind(value: Any) -> str:
    """Return what something is, in words for people."""
    if value is None:
        return "None"
    name = type(value).__name__
    return f"an object of type {name}" if not isinstance(value, str) else f"the plain string {shown(value)}"
