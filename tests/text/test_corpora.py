"""Public corpora: CS224N files, if they are there, and a replacement of the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from real_data import REAL, needs_files

from mtlbench.contract.task import Task
from mtlbench.errors import UsageError
from mtlbench.plugins.registry import load_registry


def make(spec: str) -> Task:
    return load_registry().task(spec)


def fault(task: Task, data_dir: Path | None) -> str:
    with pytest.raises(UsageError) as caught:
        task.load(data_dir)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@needs_files
class TestFiles:
    @pytest.mark.parametrize(
        ("name", "train", "dev", "skipped"),
        [
            ("sst5", 8544, 1101, 0),
            ("qqp", 61991, 20212, 2),
            ("stsb", 6040, 863, 0),
        ],
    )
    def test_row_counts(self, name: str, train: int, dev: int, skipped: int) -> None:
        splits = make(name).load(REAL)
        assert (len(splits.train), len(splits.dev)) == (train, dev)
        assert (splits.train.skipped, splits.dev.skipped) == (0, skipped)
        assert splits.source.startswith("CS224N files")

    def test_first_rows(self) -> None:
        sst = make("sst5").load(REAL).dev
        assert sst.texts[0] == ("It 's a lovely film with lovely performances by Buy and Accorsi .",)
        assert sst.labels[:2].tolist() == [3, 2]
        sts = make("stsb").load(REAL).dev
        assert sts.texts[1] == (
            "Two black dogs are playing on the grass.",
            "Two black dogs are playing in a grassy plain.",
        )
        assert sts.labels[:2].tolist() == [1.0, 4.6]
        assert make("qqp").load(REAL).train.labels.mean() == pytest.approx(0.362, abs=5e-4)

    def test_quotes_are_read_as_csv(self) -> None:
        texts = make("qqp").load(REAL).dev.texts
        assert texts[1][0].startswith('"Which is correct grammar') and texts[1][0].endswith('Do I need ""the"" here?"')

    def test_sst_labels_are_all_five(self) -> None:
        assert np.bincount(make("sst5").load(REAL).train.labels).tolist() == [1092, 2218, 1624, 2322, 1288]

    def test_the_same_twice(self) -> None:
        assert make("stsb").load(REAL).fingerprint == make("stsb").load(REAL).fingerprint


def test_missing_files_name_the_ways_out(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "no"):
        message = fault(make("qqp"), folder)
        assert message.startswith(f"data file {folder / 'quora-train.csv'} does not exist")
        assert "Hugging Face hub" in message


def test_bad_cell_in_a_corpus_file(tmp_path: Path) -> None:
    (tmp_path / "ids-sst-train.csv").write_text("\tid\tsentence\tsentiment\n0\tx\tgood\t5\n")
    (tmp_path / "ids-sst-dev.csv").touch()
    message = fault(make("sst5"), tmp_path)
    assert message == f"{tmp_path / 'ids-sst-train.csv'}, line 2: label '5' is out of range; 0 to 4 are allowed"


HUB: dict[tuple[str, ...], dict[str, list[Any]]] = {
    ("SetFit/sst5",): {"text": [" bad ", "good"], "label": [0, 4], "label_text": ["very negative", "very positive"]},
    ("nyu-mll/glue", "qqp"): {"question1": ["a?", "b?"], "question2": ["a?", "c?"], "label": [1, 0], "idx": [0, 1]},
    ("nyu-mll/glue", "stsb"): {"sentence1": ["a", "b"], "sentence2": ["c", "d"], "label": [5.0, 0.5], "idx": [0, 1]},
}


def fake_hub(monkeypatch: pytest.MonkeyPatch, tables: dict[tuple[str, ...], dict[str, list[Any]]]) -> None:
    import datasets

    def load_dataset(path: str, config: str | None, revision: None) -> datasets.DatasetDict:
        def split() -> datasets.Dataset:
            return datasets.Dataset.from_dict(tables[(path, config) if config else (path,)])

        return datasets.DatasetDict(train=split(), validation=split(), test=split())

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)


class TestHub:
    @pytest.mark.parametrize(
        ("name", "texts", "labels"),
        [
            ("sst5", [("bad",), ("good",)], [0, 4]),
            ("qqp", [("a?", "a?"), ("b?", "c?")], [1, 0]),
            ("stsb", [("a", "c"), ("b", "d")], [5.0, 0.5]),
        ],
    )
    def test_rows(
        self,
        monkeypatch: pytest.MonkeyPatch,
        name: str,
        texts: list[tuple[str, ...]],
        labels: list[float],
    ) -> None:
        fake_hub(monkeypatch, HUB)
        splits = make(name).load(None)
        for rows in (splits.train, splits.dev):
            assert list(rows.texts) == texts
            assert rows.labels.tolist() == labels
        assert splits.source.startswith("Hugging Face hub")

    def test_class_labels_of_datasets(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import datasets

        features = datasets.Features(
            {
                "question1": datasets.Value("string"),
                "question2": datasets.Value("string"),
                "label": datasets.ClassLabel(names=["not_duplicate", "duplicate"]),
            }
        )
        split = datasets.Dataset.from_dict({"question1": ["a"], "question2": ["b"], "label": [1]}, features=features)
        monkeypatch.setattr(datasets, "load_dataset", lambda *_, revision: {"train": split, "validation": split})
        assert make("qqp").load(None).dev.labels.tolist() == [1]

    def test_no_network(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import datasets

        def offline(*_: str, revision: None) -> None:
            raise ConnectionError("Couldn't reach 'nyu-mll/glue' on the Hub\n(LocalEntryNotFoundError)")

        monkeypatch.setattr(datasets, "load_dataset", offline)
        message = fault(make("qqp"), None)
        assert message.startswith("cannot load nyu-mll/glue/qqp from the Hugging Face hub (Couldn't reach")
        assert all(way in message for way in ("HF_HOME", "--data-dir", "--suite quick"))

    def test_changed_columns(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fake_hub(monkeypatch, {("SetFit/sst5",): {"sentence": ["a"], "label": [1]}})
        assert fault(make("sst5"), None) == "SetFit/sst5 train has no column 'text'; it has: sentence, label"

    def test_hidden_labels(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fake_hub(monkeypatch, {("SetFit/sst5",): {"text": ["a"], "label": [-1]}})
        assert fault(make("sst5"), None) == "SetFit/sst5 train, row 1: label -1 is out of range; 0 to 4 are allowed"
