"""Base of tasks that are declared by their columns, without code: ``table`` and ``hub``."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from mtlbench.contract.numerals import number
from mtlbench.contract.spec import Names
from mtlbench.contract.task import Kind, Rows, Splits, Task
from mtlbench.errors import UsageError
from mtlbench.problem.metrics import metrics_of
from mtlbench.text.labels import Classes, Labels, LabelSets, Scores
from mtlbench.text.splits import split_off

Count = Annotated[int | Names | None, Field(union_mode="left_to_right")]
"""A number, or names separated by ``/``."""
LARGEST_SHARE = 0.5
"""Largest share of the training rows that may become development rows."""


@dataclass(kw_only=True)
class DeclaredTask(Task):
    """Base of tasks that are declared by their columns.

    A subclass defines what ``train`` and ``dev`` name, and reads it. If ``dev`` is a number such as ``0.1``, it is a
    share of the training rows.

    Exactly one of ``classes``, ``range``, ``labels`` and several columns in ``label`` defines the kind of label.
    """

    reading: ClassVar[tuple[str, ...]] = (
        *("train", "dev", "text", "text2", "label", "missing"),
        *("classes", "range", "labels", "flags", "metric"),
    )

    called: Annotated[str, Field(description="the task's name in records and tables")]
    train: str
    dev: str
    text: Annotated[str, Field(description="column of the text")]
    label: Annotated[
        Names, Field(description="column of the label; or columns of 0 and 1, separated by /, one per label")
    ]
    text2: Annotated[str | None, Field(description="column of the second text, for pairs")] = None
    classes: Annotated[
        Count, Field(description="one class per row: the number of classes, or their names, separated by /")
    ] = None
    range: Annotated[str | None, Field(description="labels are real numbers in LOW:HIGH, such as 0:5")] = None
    labels: Annotated[
        Count,
        Field(
            description="any labels per row: the number of labels, or their names, separated by /; the column has "
            "lists or a|c"
        ),
    ] = None
    flags: Annotated[bool, Field(description="the lists of labels=... hold 0 or 1 for each label")] = False
    metric: Annotated[
        Names | None,
        Field(description="metrics, separated by /, the primary one first; default: those of the task's kind"),
    ] = None
    missing: Annotated[
        Literal["few", "skip"],
        Field(description="rows without a label are left out: at most 5 % of all (few), or any number (skip)"),
    ] = "few"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not re.fullmatch(r"[\w.-]+", self.called):
            raise UsageError(
                f"task {self.name}: parameter called='{self.called}' may hold letters, digits, '.', '_' and '-'"
            )
        for column in self.label_columns:
            if column in self.text_columns:
                raise UsageError(f"task {self.called}: column '{column}' cannot be both text and label")
        _ = self.rule  # report a wrong declaration now, not when the data is loaded
        metrics_of(self)

    @property
    def key(self) -> str:
        return self.called

    @property
    def prediction(self) -> Kind:
        return self.rule.prediction

    @property
    def outputs(self) -> int:
        return self.rule.outputs

    @property
    def metrics(self) -> tuple[str, ...]:
        return super().metrics if self.metric is None else self.metric

    @property
    def text_columns(self) -> list[str]:
        """Names of the columns of text: one or two."""
        return [self.text] if self.text2 is None else [self.text, self.text2]

    @property
    def label_columns(self) -> tuple[str, ...]:
        """Names of the columns of the label: one, or one per label."""
        return self.label

    @property
    def rule(self) -> Labels:
        """How labels are read.

        :raises UsageError: when the declaration of labels is incomplete, ambiguous or wrong.
        """
        several = len(self.label_columns) > 1
        if sum([several, *(kind is not None for kind in (self.classes, self.range, self.labels))]) != 1:
            raise UsageError(
                f"task {self.called}: give exactly one of classes=NUMBER, range=LOW:HIGH, labels=NUMBER, and several "
                "columns in label=A/B/C"
            )
        if self.flags and self.labels is None:
            raise UsageError(f"task {self.called}: flags=true is for lists of 0 and 1, with labels=...")
        if several:
            names = self._names("label", self.label)
            return LabelSets(len(names), names, columns=len(names))
        if self.range is not None:
            return self._scores(self.range)
        if self.labels is not None:
            return LabelSets(*self._choices("labels", self.labels), flags=self.flags)
        assert self.classes is not None
        return Classes(*self._choices("classes", self.classes))

    def _scores(self, bounds: str) -> Scores:
        try:
            low, high = map(number, bounds.split(":"))
        except ValueError:
            low, high = math.nan, math.nan
        if not -math.inf < low < high < math.inf:
            raise UsageError(f"task {self.called}: range={bounds} should be LOW:HIGH with LOW < HIGH, such as 0:5")
        return Scores(low, high)

    def _choices(self, parameter: str, value: int | tuple[str, ...]) -> tuple[int, tuple[str, ...]]:
        """Return the number of classes or labels, and their names if they have any."""
        if isinstance(value, tuple):
            return len(value), self._names(parameter, value)
        if value < 2:
            raise UsageError(f"task {self.called}: {parameter}={value} should be 2 or more")
        return value, ()

    def _names(self, parameter: str, names: tuple[str, ...]) -> tuple[str, ...]:
        names = tuple(name.strip() for name in names)
        if len(set(names)) < max(2, len(names)) or not all(names):
            raise UsageError(
                f"task {self.called}: {parameter}={'/'.join(names)} should be a number, or two or more names with / "
                "between them"
            )
        return names

    def load(self, data_dir: Path | None) -> Splits:
        try:
            share = number(self.dev)
        except ValueError:
            train, dev = self.read([self.train, self.dev], data_dir)
            return Splits(train, dev, source=f"{self.origin}, {self.train} and {self.dev}")
        if not 0.0 < share <= LARGEST_SHARE:
            raise UsageError(
                f"task {self.called}: dev={self.dev}, as a share, should be above 0, at most {LARGEST_SHARE}"
            )
        (rows,) = self.read([self.train], data_dir)
        train, dev = split_off(rows, share, self.called)
        return Splits(train, dev, source=f"{self.origin}, {self.train}, of which {self.dev} for development")

    @property
    def origin(self) -> str:
        """Description of where rows come from."""
        raise NotImplementedError

    def read(self, splits: Sequence[str], data_dir: Path | None) -> list[Rows]:
        """Read splits, in order.

        :param splits: values of ``train`` or ``dev``.
        :param data_dir: the folder given with ``--data-dir``.
        """
        raise NotImplementedError
