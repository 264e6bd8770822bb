"""Table: a task of your own from two files with named columns, without code."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from mtlbench.errors import UsageError
from mtlbench.table import read_table
from mtlbench.task import Kind, Splits, Task


@dataclass
class Table(Task):
    """A task from your own CSV, TSV, JSON-lines or parquet files.

    For example ``table[called=reviews,train=a.csv,dev=b.csv,text=review,label=stars,classes=5]``. With ``text2`` the
    rows are pairs. Exactly one of ``classes`` (a classification) and ``range`` (a regression) is given.
    """

    name = "table"
    source = "your own files"

    called: Annotated[str, Field(description="the task's name in records and tables")]
    train: Annotated[str, Field(description="file of the training rows, relative to --data-dir if given")]
    dev: Annotated[str, Field(description="file of the development rows, relative to --data-dir if given")]
    text: Annotated[str, Field(description="column of the text")]
    label: Annotated[str, Field(description="column of the label")]
    text2: Annotated[str | None, Field(description="column of the second text, for pairs")] = None
    classes: Annotated[int | None, Field(ge=2, description="labels are the classes 0 to classes - 1")] = None
    range: Annotated[str | None, Field(description="labels are real numbers in LOW:HIGH, such as 0:5")] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not re.fullmatch(r"[\w.-]+", self.called):
            raise UsageError(f"task table: parameter called='{self.called}' may hold letters, digits, '.', '_' and '-'")
        if (self.classes is None) == (self.range is None):
            raise UsageError(f"task {self.called}: give either classes=NUMBER or range=LOW:HIGH, and not both")
        if self.label in (self.text, self.text2):
            raise UsageError(f"task {self.called}: column '{self.label}' cannot be both text and label")
        _ = self.label_range  # a range that cannot be read is an error now, not when the data is loaded

    @property
    def key(self) -> str:
        return self.called

    @property
    def prediction(self) -> Kind:
        return "classification" if self.range is None else "regression"

    @property
    def outputs(self) -> int:
        return self.classes or 1

    @property
    def label_range(self) -> tuple[float, float] | None:
        """The least and the greatest label of a regression."""
        if self.range is None:
            return None
        try:
            low, high = map(float, self.range.split(":"))
        except ValueError:
            low, high = math.nan, math.nan
        if not -math.inf < low < high < math.inf:
            raise UsageError(f"task {self.called}: range={self.range} should be LOW:HIGH with LOW < HIGH, such as 0:5")
        return low, high

    def load(self, data_dir: Path | None) -> Splits:
        columns = [self.text] if self.text2 is None else [self.text, self.text2]
        train, dev = (
            read_table(
                (data_dir or Path()) / file, columns, self.label, classes=self.classes, label_range=self.label_range
            )
            for file in (self.train, self.dev)
        )
        return Splits(train, dev, source=f"files {self.train} and {self.dev}")
