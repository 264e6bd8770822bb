"""Public corpora from either of two sources: CS224N files in a folder, or data sets on the Hugging Face hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mtlbench.contract.task import Splits
from mtlbench.errors import UsageError
from mtlbench.text.hub_reader import read_hub
from mtlbench.text.labels import Labels
from mtlbench.text.table_reader import read_table


@dataclass(frozen=True)
class Corpus:
    """The sources of a corpus, and how to read them.

    :param files: the CS224N files of the training and the development split, tab-separated.
    :param file_columns: columns of the files: one or two texts, then the label.
    :param hub: the data set on the hub, and its configuration if it has several.
    :param hub_columns: columns on the hub: one or two texts, then the label. Splits are ``train`` and ``validation``.
    :param labels: how labels are read.
    """

    files: tuple[str, str]
    file_columns: tuple[str, ...]
    hub: tuple[str, str | None]
    hub_columns: tuple[str, ...]
    labels: Labels

    def load(self, data_dir: Path | None) -> Splits:
        """Read both splits, from CS224N files or from the hub.

        The two sources have different rows: CS224N re-split Quora and STS, so compare scores only within one source.

        :param data_dir: folder of the CS224N files; ``None`` reads from the hub.
        :raises UsageError: when a file is missing, a column or label is wrong, or the hub cannot be reached.
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
        train, dev = (read_table(folder / file, texts, [label], self.labels) for file in self.files)
        return Splits(train, dev, source=f"CS224N files {' and '.join(self.files)}")

    def _from_hub(self) -> Splits:
        *texts, label = self.hub_columns
        instead = "give a folder of CS224N files with --data-dir"
        train, dev = read_hub(*self.hub, ("train", "validation"), texts, [label], self.labels, instead=instead)
        return Splits(train, dev, source=f"Hugging Face hub {'/'.join(filter(None, self.hub))}")
