"""Public corpora in their two forms: CS224N files in a folder, and data sets on the Hugging Face hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtlbench.errors import UsageError
from mtlbench.table import check_columns, read_table, to_rows
from mtlbench.task import Rows, Splits


@dataclass(frozen=True)
class Corpus:
    """Where a corpus is found and how it is read.

    :param files: the CS224N files of the training and the development split, tab-separated.
    :param file_columns: their columns: one or two texts, then the label.
    :param hub: the data set on the hub, and its configuration if it has several.
    :param hub_columns: its columns: one or two texts, then the label. The splits are ``train`` and ``validation``.
    :param classes: labels are the classes 0 … ``classes - 1``.
    :param label_range: labels are real numbers between these two.
    """

    files: tuple[str, str]
    file_columns: tuple[str, ...]
    hub: tuple[str, ...]
    hub_columns: tuple[str, ...]
    classes: int | None = None
    label_range: tuple[float, float] | None = None

    def load(self, data_dir: Path | None) -> Splits:
        """Read both splits, from a folder of CS224N files if one is given, else from the hub.

        The two are not the same rows: CS224N re-split Quora and STS, so scores compare only within one source.

        :raises UsageError: when the folder, a file, a column or a label is wrong, or the hub cannot be reached.
        """
        return self._from_files(data_dir) if data_dir is not None else self._from_hub()

    def _from_files(self, folder: Path) -> Splits:
        for file in self.files:
            if not (folder / file).exists():
                raise UsageError(
                    f"data file {folder / file} does not exist; --data-dir takes a folder with the CS224N files, "
                    "without it the data comes from the Hugging Face hub"
                )
        *texts, label = self.file_columns
        train, dev = (
            read_table(folder / file, texts, label, classes=self.classes, label_range=self.label_range)
            for file in self.files
        )
        return Splits(train, dev, source=f"CS224N files {' and '.join(self.files)}")

    def _from_hub(self) -> Splits:
        name = "/".join(self.hub)
        try:
            from datasets import load_dataset

            found = load_dataset(*self.hub)
            train, dev = found["train"], found["validation"]
        except Exception as error:  # the hub fails in many ways, each with its own class; the ways out are the same
            reason = " ".join(str(error).split())[:150] or type(error).__name__
            raise UsageError(
                f"cannot load {name} from the Hugging Face hub ({reason}); connect once or point HF_HOME to a cache "
                "that holds it, or give a folder of CS224N files with --data-dir, or run the embedded tasks with "
                "--suite quick"
            ) from None
        return Splits(
            self._hub_rows(train, f"{name} train"),
            self._hub_rows(dev, f"{name} validation"),
            source=f"Hugging Face hub {name}",
        )

    def _hub_rows(self, split: Any, origin: str) -> Rows:
        check_columns(origin, self.hub_columns, split.column_names)
        cells = split.select_columns(list(self.hub_columns))[:]
        records = enumerate(zip(*(cells[name] for name in self.hub_columns), strict=True), start=1)
        return to_rows(records, origin, "row", classes=self.classes, label_range=self.label_range)
