"""Tasks from any data set on the Hugging Face hub, without code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from mtlbench.contract.task import Rows
from mtlbench.text.column_tasks import DeclaredTask
from mtlbench.text.hub_reader import read_hub


@dataclass(kw_only=True)
class Hub(DeclaredTask):
    """A task from a data set that Hugging Face's ``datasets`` loads: on the hub, or in a folder.

    For example ``hub[called=stars,path=SetFit/amazon_reviews_multi_en,text=text,label=label,classes=5]``. Columns and
    labels are declared as for the task ``table``; class names are the data set's own. A data set's code is never run,
    so data sets that need it cannot be loaded. See docs/tasks.md.
    """

    name = "hub"
    source = "the Hugging Face hub"
    reading = (*DeclaredTask.reading, "path", "config", "revision")

    path: Annotated[str, Field(description="owner/name on the hub, or a folder, relative to --data-dir if given")]
    config: Annotated[str | None, Field(description="the data set's configuration, if it has several")] = None
    revision: Annotated[str | None, Field(description="commit, tag or branch on the hub; default: its newest")] = None
    train: Annotated[str, Field(description="split of the training rows")] = "train"
    dev: Annotated[
        str, Field(description="split of the development rows; or a share of the training rows, such as 0.1")
    ] = "validation"

    @property
    def origin(self) -> str:
        config = f"/{self.config}" if self.config else ""
        revision = f" at {self.revision}" if self.revision else ""
        return f"data set {self.path}{config}{revision}"

    def read(self, splits: Sequence[str], data_dir: Path | None) -> list[Rows]:
        folder = (data_dir or Path()) / Path(self.path).expanduser()
        return read_hub(
            str(folder) if folder.is_dir() else self.path,
            self.config,
            splits,
            self.text_columns,
            self.label_columns,
            self.rule,
            instead="download its files and give their folder as path=FOLDER",
            revision=self.revision,
            skip_unlabelled=self.missing == "skip",
        )
