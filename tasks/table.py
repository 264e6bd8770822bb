"""Tasks from your own files with named columns, without code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from mtlbench.contract.task import Rows
from mtlbench.errors import UsageError
from mtlbench.text.column_tasks import DeclaredTask
from mtlbench.text.delimited import DELIMITED, Dialect, Quoting, name_delimiter, read_delimiter
from mtlbench.text.file_content import file_type
from mtlbench.text.table_reader import read_table


@dataclass(kw_only=True)
class Table(DeclaredTask):
    """A task from your own CSV, TSV, JSON or parquet files.

    For example ``table[called=reviews,train=a.csv,dev=b.csv,text=review,label=stars,classes=5]``. With ``text2``, rows
    are pairs. Give exactly one of ``classes`` (classification), ``range`` (regression), ``labels``, and several columns
    in ``label`` (both multi-label). Several tasks may read the same file, each with its own label column; with
    ``missing=skip``, rows may be labelled for only some of the tasks. See docs/tasks.md.
    """

    name = "table"
    source = "your own files"
    reading = (*DeclaredTask.reading, "delimiter", "quoting")

    train: Annotated[str, Field(description="file of the training rows, relative to --data-dir if given")]
    dev: Annotated[
        str,
        Field(
            description="file of the development rows, relative to --data-dir if given; or a share of the training "
            "rows, such as 0.1"
        ),
    ]
    delimiter: Annotated[
        str | None,
        Field(
            description="delimiter of CSV and TSV files: one character, or tab, comma, semicolon, pipe or space; "
            "default: a tab if the header has one, else a comma"
        ),
    ] = None
    quoting: Annotated[
        Quoting | None,
        Field(
            description="of CSV and TSV files; csv: fields may be in double quotes, quotes inside are doubled; "
            "backslash: quotes inside have a backslash before them; none: quotes are text; default: none for files "
            "with tabs that are not called .csv, else csv"
        ),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.delimiter is not None:
            try:
                self.delimiter = name_delimiter(self.delimiter)
            except ValueError as fault:
                raise UsageError(f"task {self.called}: parameter delimiter={self.delimiter} {fault}") from None
        if (self.delimiter or self.quoting) and not {file_type(Path(file)) for file in (self.train, self.dev)} & {
            *DELIMITED
        }:
            raise UsageError(f"task {self.called}: delimiter and quoting are for {', '.join(DELIMITED)} files")

    @property
    def origin(self) -> str:
        return "files"

    def read(self, splits: Sequence[str], data_dir: Path | None) -> list[Rows]:
        return [
            read_table(
                (data_dir or Path()) / Path(file).expanduser(),
                self.text_columns,
                self.label_columns,
                self.rule,
                skip_unlabelled=self.missing == "skip",
                dialect=Dialect(self.delimiter and read_delimiter(self.delimiter), self.quoting),
            )
            for file in splits
        ]
