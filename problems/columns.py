"""A table of your own: numbers and categories in, several columns to predict."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from mtlbench import Data, Examples, Problem, Target, UsageError, seeds
from mtlbench.contract.spec import Names
from mtlbench.problems._table_file import Predicted, classes_of, labels_of, read_table
from mtlbench.problems._table_inputs import features_of
from mtlbench.text.delimited import Dialect, Quoting, name_delimiter, read_delimiter

if TYPE_CHECKING:
    import torch


@dataclass(kw_only=True)
class Columns(Problem):
    """Columns of a CSV, TSV or parquet file, predicted from its other columns by a multi-layer perceptron.

    For example ``columns[file=homes.csv,predict=price:number/cheap:flag/kind:class]``. A target is a ``number``, a
    ``flag`` (0 or 1, false or true), or a ``class``, whose names may be declared: ``kind:class:flat|house``. A target
    may be missing in some rows; its loss is the mean over the others. Rows without any target are left out.

    All other columns are inputs, except those in ``ignore``. Columns of numbers are standardised; all others, and those
    in ``categories``, are categories. Both are fitted on the training rows. Missing numbers count as the mean, with a
    further input that says so; a missing category is a category of its own; one that is in no training row has all
    zeros. Empty cells, NaN, ``NA``, ``null`` and the like are missing, and so are the texts in ``missing``.

    Rows with the same inputs are always in the same split, so that no row is scored by heart. Which rows those are is
    fixed: it depends on the order of the rows in the file alone.

    With ``experts``, the trunk is a multi-gate mixture of experts: each task reads its own average of the experts,
    weighted by a softmax of a linear function of the inputs. The experts are shared, the gates belong to the heads.
    """

    name = "columns"
    source = (
        "your own files; experts: Ma et al., Modeling Task Relationships in Multi-task Learning with Multi-gate "
        "Mixture-of-Experts, KDD 2018"
    )
    reading = (
        *("file", "predict", "ignore", "categories", "missing"),
        *("dev", "test", "delimiter", "quoting"),
    )

    file: Annotated[str, Field(description="CSV, TSV or parquet file, relative to --data-dir if given")]
    predict: Annotated[Names, Field(description="columns to predict, as COLUMN:KIND, separated by /")]
    ignore: Annotated[Names, Field(description="columns that are not inputs, separated by /")] = ()
    categories: Annotated[Names, Field(description="columns of numbers that are categories, separated by /")] = ()
    missing: Annotated[Names, Field(description="texts that mean a missing value, separated by /, such as ?")] = ()
    dev: Annotated[float, Field(gt=0, le=0.5, description="share of the rows for development")] = 0.2
    test: Annotated[float, Field(ge=0, le=0.4, description="share of the rows that are scored once, at the end")] = 0.0
    width: Annotated[int, Field(ge=1, le=4096, description="units of each layer, in each expert")] = 64
    layers: Annotated[int, Field(ge=1, le=10, description="layers of the trunk, or of each expert")] = 2
    experts: Annotated[int, Field(ge=0, le=100, description="experts; 0 for one trunk for all tasks")] = 0
    delimiter: Annotated[str | None, Field(description="as of the task table")] = None
    quoting: Annotated[Quoting | None, Field(description="as of the task table")] = None

    classes: dict[str, tuple[str, ...]] = field(default_factory=dict, init=False)
    """Column → names of its classes, once the file is read."""
    features: int = field(default=0, init=False)
    """Numbers of a row's inputs, once the file is read."""

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            self.delimiter = None if self.delimiter is None else name_delimiter(self.delimiter)
        except ValueError as fault:
            raise UsageError(f"problem columns: parameter delimiter={self.delimiter} {fault}") from None
        names = [goal.column for goal in self.goals]
        for name in names:
            if names.count(name) > 1 or len({_key(other) for other in names}) < len(names):
                raise UsageError(f"problem columns: predict={'/'.join(self.predict)} names a task twice")
            if name in self.ignore or name in self.categories:
                raise UsageError(f"problem columns: column '{name}' is predicted; it cannot be in ignore or categories")

    @property
    def goals(self) -> list[Predicted]:
        """The columns to predict.

        :raises UsageError: when one is not declared as COLUMN:KIND.
        """
        return [_predicted(text) for text in self.predict]

    def targets(self) -> Sequence[Target]:
        if not self.classes:
            self.classes = self._classes()
        return [
            Target(_key(goal.column), "regression")
            if goal.kind == "number"
            else Target(_key(goal.column), "classification", outputs=len(self.classes[goal.column]) or 2)
            for goal in self.goals
        ]

    def _classes(self) -> dict[str, tuple[str, ...]]:
        """Return column → names of its classes, before the rows are loaded: those declared, else those in the file."""
        unknown = [goal.column for goal in self.goals if goal.kind == "class" and not goal.classes]
        if not unknown:
            return {goal.column: goal.classes for goal in self.goals}
        if not Path(self.file).expanduser().exists():
            raise UsageError(
                f"problem columns: data file {self.file} does not exist in this folder; give its whole path, or "
                f"declare the classes of '{unknown[0]}': {unknown[0]}:class:A|B"
            )
        self.load(None)
        return self.classes

    def load(self, data_dir: Path | None) -> Data:
        goals = self.goals
        path = (data_dir or Path()) / Path(self.file).expanduser()
        dialect = Dialect(self.delimiter and read_delimiter(self.delimiter), self.quoting)
        table = read_table(path, goals, self.ignore, self.missing, dialect)
        inputs = [name for name in table.columns if name not in {goal.column for goal in goals}]
        for name in self.categories:
            if name not in inputs:
                raise UsageError(f"problem columns: categories={name} is not an input; they are: {', '.join(inputs)}")
        self.classes = {goal.column: classes_of(table, goal) for goal in goals}
        labels = {_key(goal.column): labels_of(table, goal) for goal in goals}
        splits = self._split(table.columns, inputs, path)
        features = features_of(table, inputs, self.categories, splits["train"])
        self.features = features.shape[1]
        parts = {
            name: Examples(features[rows], {task: values[rows] for task, values in labels.items()})
            for name, rows in splits.items()
        }
        return Data(parts["train"], parts["dev"], parts.get("test"), source=f"file {path.name}, {len(table)} rows")

    def _split(
        self, columns: Mapping[str, Sequence[Any]], inputs: Sequence[str], path: Path
    ) -> dict[str, NDArray[np.int64]]:
        """Return split → numbers of its rows; rows with the same inputs stay together."""
        numbers: dict[tuple[str, ...], int] = {}
        rows = zip(*(map(str, columns[name]) for name in inputs), strict=True)
        group = np.array([numbers.setdefault(row, len(numbers)) for row in rows])
        order = seeds.generator("columns", "split").permutation(len(numbers))
        place = np.empty(len(numbers), np.int64)
        place[order] = np.arange(len(numbers))
        place = place[group]
        ends = {"dev": self.dev * len(numbers), "test": (self.dev + self.test) * len(numbers)}
        dev, test = place < ends["dev"], (place >= ends["dev"]) & (place < ends["test"])
        splits = {"train": ~dev & ~test, "dev": dev} | ({"test": test} if self.test else {})
        for name, chosen in splits.items():
            if chosen.sum() < 2:
                raise UsageError(
                    f"{path}: {len(group)} rows with {len(numbers)} different inputs leave {chosen.sum()} to the "
                    f"{name} split; 2 are needed"
                )
        return {name: np.flatnonzero(chosen) for name, chosen in splits.items()}

    def model(self, targets: Sequence[Target]) -> torch.nn.Module:
        from torch import nn

        if not self.features:
            raise UsageError("problem columns: load the rows before the model: they decide its inputs")
        count = max(1, self.experts)
        total = count * self.width
        layers: list[nn.Module] = [nn.Linear(self.features, total), nn.ReLU()]
        for _ in range(self.layers - 1):
            if count == 1:
                layers += [nn.Linear(total, total), nn.ReLU()]
            else:  # one product for all experts: a convolution with a group for each, over a single place
                layers += [nn.Unflatten(1, (total, 1)), nn.Conv1d(total, total, 1, groups=count), nn.Flatten()]
                layers += [nn.ReLU()]
        trunk = nn.Sequential(*layers, nn.Unflatten(1, (count, self.width)))
        heads = nn.ModuleDict({self._place(goal.name): nn.Linear(self.width, goal.outputs) for goal in targets})
        gates = {self._place(goal.name): nn.Linear(self.features, count) for goal in targets if self.experts}
        return nn.ModuleDict({"trunk": trunk, "heads": heads, "gates": nn.ModuleDict(gates)})

    def _place(self, task: str) -> str:
        """Return a task's place among all: torch accepts few names of modules, and tasks may have any."""
        return str([_key(goal.column) for goal in self.goals].index(task))

    def shared(self, model: Any) -> torch.nn.Module:
        return model["trunk"]

    def last_shared_layer(self, model: Any) -> torch.nn.Module:
        return [layer for layer in model["trunk"] if list(layer.parameters())][-1]

    def representation(self, model: Any) -> torch.nn.Module:
        return model["trunk"]

    def outputs(self, model: Any, inputs: Any, tasks: Sequence[str]) -> Mapping[str, torch.Tensor]:
        features = model["trunk"](inputs)  # (B, experts, width)
        outputs = {}
        for task in tasks:
            place = self._place(task)
            mixed = features[:, 0]
            if self.experts:
                shares = model["gates"][place](inputs).softmax(dim=1)
                mixed = (shares[:, :, None] * features).sum(dim=1)
            outputs[task] = model["heads"][place](mixed)
        return outputs


def _predicted(text: str) -> Predicted:
    match = re.fullmatch(r"(.+?):(?:(number|flag|class)|class:(.+))", text.strip())
    if match is None:
        raise UsageError(
            f"problem columns: predict={text} should be COLUMN:number, COLUMN:flag, COLUMN:class or COLUMN:class:A|B"
        )
    column, kind, names = match[1].strip(), match[2] or "class", match[3]
    classes = tuple(name.strip() for name in names.split("|")) if names else ()
    if names and (len(set(classes)) < max(2, len(classes)) or not all(classes)):
        raise UsageError(f"problem columns: predict={text} should name two or more different classes")
    return Predicted(column, kind, classes)  # type: ignore[arg-type]  # the pattern has the three kinds


def _key(column: str) -> str:
    """Return a task's name: the column's, with ``_`` for what no name of a task may have."""
    return re.sub(r"[^\w.-]+", "_", column).strip("_") or "_"
