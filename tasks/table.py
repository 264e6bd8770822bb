"""Table: a task of your own from files with named columns, without code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from mtlbench.contract.task import Rows
from mtlbench.text.column_tasks import DeclaredTask
from mtlbench.text.table import read_table


@dataclass(kw_only=True)
class Table(DeclaredTask):
    """A task from your own CSV, TSV, JSON-lines or parquet files.

    For example ``table[called=reviews,train=a.csv,dev=b.csv,text=review,label=stars,classes=5]``. With ``text2`` the
    rows are pairs. Exactly one of ``classes`` (a classification), ``range`` (a regression), ``labels`` and several
    columns in ``label`` (both multi-label) is given. Several tasks may read one file, each with ``missing=skip`` and a
    label column of its own: rows are then labelled for some of the tasks only. More in docs/tasks.md.
    """

    name = "table"
    source = "your own files"

    train: Annotated[str, Field(description="file of the training rows, relative to --data-dir if given")]
    dev: Annotated[
        str,
        Field(
            description="file of the development rows, relative to --data-dir if given; or a share of the training "
            "rows, such as 0.1"
        ),
    ]

    @property
    def origin(self) -> str:
        return "files"

    def read(self, splits: Sequence[str], data_dir: Path | None) -> list[Rows]:
        return [
            read_table(
                (data_dir or Path()) / file,
                self.text_columns,
                self.label_columns,
                self.rule,
                skip_unlabelled=self.missing == "skip",
            )
            for file in splits
        ]
