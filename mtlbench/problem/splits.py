"""The rows of a problem by split: checked, with labels in one form, and limited as the recipe says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mtlbench import seeds
from mtlbench.contract.examples import Data, Examples
from mtlbench.contract.problem import Problem, Target
from mtlbench.errors import UsageError, shown
from mtlbench.problem.interface import Labels
from mtlbench.problem.targets import call
from mtlbench.recipe.suite import Recipe

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Split:
    """Rows of one split.

    :param examples: the author's rows.
    :param rows: (N,) the numbers of this split's rows among them.
    :param labels: task → (N,) classes, (N, C) float64 numbers, or (N, C) zeros and ones, all of int64 but the numbers;
        any value where a row has no label.
    :param labelled: task → (N,) whether a row has a label.
    """

    examples: Examples
    rows: NDArray[np.int64]
    labels: Labels
    labelled: Mapping[str, Mask]

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, numbers: NDArray[np.int64]) -> Any:
        """Return the inputs of some rows.

        :param numbers: their numbers, from 0 to N − 1.
        """
        return self.examples.take(self.rows[numbers])

    def numbers(self, task: str) -> NDArray[np.int64]:
        """Return the numbers of the rows that have a label of a task.

        :param task: the task.
        """
        return np.flatnonzero(self.labelled[task])

    def picked(self, numbers: NDArray[np.int64]) -> Split:
        """Return some of the rows.

        :param numbers: their numbers.
        """
        return Split(
            self.examples,
            self.rows[numbers],
            {task: labels[numbers] for task, labels in self.labels.items()},
            {task: mask[numbers] for task, mask in self.labelled.items()},
        )

    def scored(self, target: Target) -> NDArray[Any]:
        """Return the labels of the rows that have one, as metrics read them: (N,) where a row has one number.

        :param target: the task.
        """
        labels = self.labels[target.name][self.labelled[target.name]]
        return labels[:, 0] if target.prediction == "regression" and target.outputs == 1 else labels


def load_data(problem: Problem, data_dir: Path | None) -> Data:
    """Load a problem's data.

    :param problem: the problem.
    :param data_dir: the folder given with ``--data-dir``.
    :raises UsageError: for a fault, naming problem and remedy.
    """
    where = f"problem {problem.name}"
    try:
        data = call(problem, "load", problem.load, data_dir)
    except UsageError as error:
        if data_dir is None and lacks_folder(error.__cause__):
            raise UsageError(f"{error}; if it reads files, give their folder: --data-dir FOLDER") from error.__cause__
        raise
    if not isinstance(data, Data):
        raise UsageError(f"{where}: load() returned {shown(data)}; return Data(train=Examples(...), dev=Examples(...))")
    if not isinstance(data.source, str):
        raise UsageError(f"{where}: the data's source is {shown(data.source)}; give a text")
    return data


def checked_splits(problem: Problem, data: Data, targets: Sequence[Target]) -> dict[str, Split]:
    """Return the rows by split, with labels in one form.

    :param problem: the problem.
    :param data: its data.
    :param targets: the chosen tasks.
    :raises UsageError: for a fault, naming problem, split, task, row and remedy.
    """
    splits: dict[str, Any] = {"train": data.train, "dev": data.dev} | ({} if data.test is None else {"test": data.test})
    return {name: _checked(f"problem {problem.name}: {name} split", part, targets) for name, part in splits.items()}


def lacks_folder(error: BaseException | None) -> bool:
    """Return whether an author's ``load`` seems to have failed for want of a data folder: ``None / "file"``.

    :param error: what it raised.
    """
    return isinstance(error, OSError) or (isinstance(error, TypeError | AttributeError) and "NoneType" in str(error))


def limited(splits: Mapping[str, Split], recipe: Recipe, problem: Problem) -> dict[str, Split]:
    """Carve off the recipe's test rows, and limit the development rows; both choices are fixed and random.

    :param splits: the rows by split.
    :param recipe: the recipe.
    :param problem: the problem.
    :raises UsageError: when there is a test split already, or too few rows are left.
    """
    result = dict(splits)
    if recipe.test_rows is not None:
        rows = len(splits["train"])
        if "test" in splits:
            raise UsageError(f"test_rows={recipe.test_rows}: problem {problem.name} has a test split already")
        if recipe.test_rows >= rows:
            raise UsageError(f"test_rows={recipe.test_rows} leaves none of {rows} training rows of {problem.name}")
        order = seeds.generator("sample", "test rows", problem.name).permutation(rows)
        result["test"] = splits["train"].picked(np.sort(order[: recipe.test_rows]))
        result["train"] = splits["train"].picked(np.sort(order[recipe.test_rows :]))
    if recipe.dev_limit is not None:
        dev = result["dev"]
        order = seeds.generator("sample", "development rows", problem.name).permutation(len(dev))
        masks = {task: _first(mask, order, recipe.dev_limit) for task, mask in dev.labelled.items()}
        result["dev"] = replace(dev, labelled=masks)
    return result


def check_labels(splits: Mapping[str, Split], targets: Sequence[Target], problem: Problem) -> None:
    """Refuse tasks with nothing to learn or to score.

    :param splits: the rows by split.
    :param targets: the tasks.
    :param problem: the problem.
    :raises UsageError: naming task and split.
    """
    for target in targets:
        where = f"problem {problem.name}: task {target.name}"
        for name, split in splits.items():
            if not split.labelled[target.name].any():
                raise UsageError(f"{where} has no labelled row in the {name} split")
        labels = splits["train"].labels[target.name][splits["train"].labelled[target.name]]
        constant = (labels == labels[0]).all(axis=0)
        if target.prediction == "regression" and constant.any():
            column = "" if target.outputs == 1 else f" of output {int(np.argmax(constant))}"
            raise UsageError(f"{where}: all training labels{column} are equal; there is nothing to learn")
        if bool(np.all(constant)):
            raise UsageError(f"{where}: all training labels are {shown(labels[0].tolist())}; there is nothing to learn")


def _first(mask: Mask, order: NDArray[np.int64], limit: int) -> Mask:
    """Return a mask of the first labelled rows of an order."""
    chosen = np.zeros_like(mask)
    chosen[order[mask[order]][:limit]] = True
    return chosen


def _checked(where: str, examples: Any, targets: Sequence[Target]) -> Split:
    if not isinstance(examples, Examples):
        raise UsageError(f"{where} is {shown(examples)}; give Examples(inputs, labels)")
    labels: Any = examples.labels
    if not isinstance(labels, Mapping):
        raise UsageError(f"{where}: labels is {shown(labels)}; give a mapping from task to labels")
    for target in targets:
        if target.name not in labels:
            raise UsageError(f"{where} has no labels of task {target.name}; where no row has one, give -1 or NaN")
    lengths = {}
    for task, values in labels.items():
        if not isinstance(values, np.ndarray) or values.ndim == 0:
            raise UsageError(f"{where}: labels of task {task} are {shown(values)}; give an array of NumPy")
        lengths[f"labels of task {task}"] = len(values)
    lengths |= _lengths("inputs", examples.inputs)
    (first, rows), *others = lengths.items()
    for name, length in others:
        if length != rows:
            raise UsageError(f"{where}: {first} have {rows} rows, but {name} have {length}")
    if rows == 0:
        raise UsageError(f"{where} has no rows")
    checked = {target.name: _labels(f"{where}: task {target.name}", target, labels[target.name]) for target in targets}
    return Split(
        examples,
        np.arange(rows),
        {task: values for task, (values, _) in checked.items()},
        {task: mask for task, (_, mask) in checked.items()},
    )


def _lengths(name: str, inputs: Any) -> dict[str, int]:
    """Return the number of rows of each part of the inputs that has a length."""
    if isinstance(inputs, Mapping):
        return {k: n for key, part in inputs.items() for k, n in _lengths(f"{name} '{key}'", part).items()}
    if isinstance(inputs, np.ndarray | torch.Tensor):
        return {name: len(inputs) if inputs.ndim else 0}
    return {name: len(inputs)} if hasattr(inputs, "__len__") else {}


def _labels(where: str, target: Target, labels: NDArray[Any]) -> tuple[NDArray[Any], Mask]:
    """Return labels in one form, and which rows have one."""
    if labels.dtype.kind not in "biuf":
        raise UsageError(f"{where}: labels are of type {labels.dtype}; give whole or real numbers")
    if target.prediction == "classification":
        return _classes(where, target, labels)
    if target.prediction == "regression" and target.outputs == 1 and labels.ndim == 1:
        labels = labels[:, None]
    if labels.shape != (len(labels), target.outputs):
        raise UsageError(f"{where}: labels have the shape {labels.shape}, not {(len(labels), target.outputs)}")
    numbers = labels.astype(np.float64)
    missing = np.isnan(numbers)
    labelled = np.asarray(~missing.any(axis=1))
    partly = missing.any(axis=1) & ~missing.all(axis=1)
    if partly.any():
        raise UsageError(f"{where}: row {int(partly.argmax())} has some numbers and some NaN; give all or none")
    allowed = np.isfinite(numbers) if target.prediction == "regression" else np.isin(numbers, (0.0, 1.0))
    bad = ~allowed.all(axis=1) & labelled
    if bad.any():
        row = int(bad.argmax())
        expected = "finite numbers" if target.prediction == "regression" else "zeros and ones"
        raise UsageError(f"{where}: row {row} has {shown(labels[row].tolist())}; give {expected}, or NaN for no label")
    return numbers if target.prediction == "regression" else np.nan_to_num(numbers).astype(np.int64), labelled


def _classes(where: str, target: Target, labels: NDArray[Any]) -> tuple[NDArray[np.int64], Mask]:
    if labels.ndim != 1 or labels.dtype.kind == "f":
        raise UsageError(
            f"{where}: labels have the shape {labels.shape} and the type {labels.dtype}; give one whole number a row"
        )
    classes = labels.astype(np.int64)
    bad = (classes < -1) | (classes >= target.outputs)
    if bad.any():
        row = int(bad.argmax())
        raise UsageError(
            f"{where}: row {row} has class {int(labels[row])}; classes are 0 to {target.outputs - 1}, and -1 "
            "stands for no label"
        )
    return classes, classes >= 0


def one_batch(split: Split, target: Target, size: int) -> Split:
    """Choose labelled rows for a batch of a task: always the same, with more than one label if possible.

    A batch with one label cannot show whether the model reads its inputs.

    :param split: rows to choose from.
    :param target: the task.
    :param size: the most rows.
    """
    numbers = seeds.generator("overfit", target.name).permutation(split.numbers(target.name))
    labels = split.labels[target.name].reshape(len(split), -1)
    chosen, rest = numbers[:size].copy(), numbers[size:]
    others = rest[(labels[rest] != labels[chosen[0]]).any(axis=1)]
    if (labels[chosen] == labels[chosen[0]]).all() and len(others):
        chosen[-1] = others[0]
    return split.picked(chosen)
