"""Data sets that ``datasets`` loads: from small local folders, and from a replacement of the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

datasets = pytest.importorskip("datasets")

from mtlbench.contract.task import Splits, Task  # noqa: E402
from mtlbench.errors import UsageError  # noqa: E402
from mtlbench.plugins.registry import load_registry  # noqa: E402

EMOTIONS = ["joy", "anger", "fear"]


@pytest.fixture(autouse=True)
def own_data_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what ``datasets`` makes of the files out of the user's cache, and its bars off the terminal."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()


def make(spec: str) -> Task:
    return load_registry().task(spec)


def load(folder: Path, spec: str) -> Splits:
    return make(f"hub[called=t,text=text,{spec}]").load(folder)


def fault(folder: Path, spec: str) -> str:
    with pytest.raises(UsageError) as caught:
        load(folder, spec)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def emotions(tmp_path: Path) -> Path:
    """A folder with a folder ``emotions`` of parquet files, as the hub keeps them: the names of classes are in them."""
    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "labels": datasets.Sequence(datasets.ClassLabel(names=EMOTIONS)),
            "first": datasets.ClassLabel(names=EMOTIONS),
        }
    )
    sets = [[0], [], [0, 2], [1]]
    rows = {"text": list("abcd"), "labels": sets, "first": [0, -1, 0, 1]}
    (tmp_path / "emotions").mkdir()
    for split in ("train", "validation"):
        datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "emotions" / f"{split}.parquet")
    return tmp_path


class TestFolder:
    def test_labels_by_number_and_by_name(self, emotions: Path) -> None:
        splits = load(emotions, "path=emotions,label=labels,labels=3")
        assert splits.train.labels.tolist() == [[1, 0, 0], [0, 0, 0], [1, 0, 1], [0, 1, 0]]
        assert list(splits.dev.texts) == [("a",), ("b",), ("c",), ("d",)]
        assert splits.source == "data set emotions, train and validation"
        named = load(emotions, "path=emotions,label=labels,labels=anger/fear/joy")
        assert named.train.labels.tolist() == [[0, 0, 1], [0, 0, 0], [0, 1, 1], [1, 0, 0]]

    def test_a_class_of_minus_one_is_no_label(self, emotions: Path) -> None:
        for classes in ("3", "joy/anger/fear"):
            splits = load(emotions, f"path=emotions,label=first,classes={classes},missing=skip")
            assert (splits.train.labels.tolist(), splits.train.skipped) == ([0, 0, 1], 1)

    def test_columns_of_zeros_and_ones_whose_values_have_names(self, tmp_path: Path) -> None:
        flag = datasets.ClassLabel(names=["no", "yes"])
        features = datasets.Features({"text": datasets.Value("string"), "rude": flag, "spam": flag})
        (tmp_path / "posts").mkdir()
        for split in ("train", "validation"):
            made = datasets.Dataset.from_dict({"text": ["a", "b"], "rude": [0, 1], "spam": [1, 1]}, features=features)
            made.to_parquet(tmp_path / "posts" / f"{split}.parquet")
        assert load(tmp_path, "path=posts,label=rude/spam").train.labels.tolist() == [[0, 1], [1, 1]]

    def test_csv_files_with_names_of_classes(self, tmp_path: Path) -> None:
        (tmp_path / "mood").mkdir()
        (tmp_path / "mood" / "train.csv").write_text("text,label\nx,pos\ny,neg\n")
        (tmp_path / "mood" / "dev.csv").write_text("text,label\nz,pos\n")
        splits = load(tmp_path, "path=mood,label=label,classes=neg/pos")
        assert (splits.train.labels.tolist(), splits.dev.labels.tolist()) == ([1, 0], [1])

    @pytest.mark.parametrize("delimiter", ["\t", ","])
    def test_rows_between_two_stray_quotes_are_told(self, tmp_path: Path, delimiter: str) -> None:
        (tmp_path / "mood").mkdir()
        rows = [f"text {row}{delimiter}{row % 2}" for row in range(60)]
        rows[10], rows[50] = f'"open{delimiter}0', f'close"{delimiter}1'
        ending = "tsv" if delimiter == "\t" else "csv"
        (tmp_path / "mood" / f"train.{ending}").write_text("\n".join([f"text{delimiter}label", *rows]) + "\n")
        message = fault(tmp_path, "path=mood,label=label,classes=2,dev=0.2")
        assert "train, row 11: a text of 41 lines, 39 of which are rows" in message and "with the task table" in message
        rows[10] = f'"Dear all,\nI am fine, thanks\nbye"{delimiter}0'
        rows[50] = f"x{delimiter}1"
        (tmp_path / "mood" / f"train.{ending}").write_text("\n".join([f"text{delimiter}label", *rows]) + "\n")
        assert len(load(tmp_path, "path=mood,label=label,classes=2,dev=0.2").train) > 40

    def test_a_share_of_the_training_rows(self, tmp_path: Path) -> None:
        (tmp_path / "mood").mkdir()
        rows = "\n".join(f"text {row},{row / 10}" for row in range(50))
        (tmp_path / "mood" / "train.csv").write_text(f"text,label\n{rows}\n")
        splits = load(tmp_path, "path=mood,label=label,range=0:5,dev=0.2")
        assert len(splits.train) + len(splits.dev) == 50 and not {*splits.train.texts} & {*splits.dev.texts}

    @pytest.mark.parametrize(
        ("spec", "reason"),
        [
            ("label=label,labels=3", "has no column 'label'; did you mean labels? it has: text, labels, first"),
            ("label=labels,labels=3,dev=validatin", "'validatin'; did you mean validation?"),
            ("label=labels,labels=3,train=tran", "'tran'; did you mean train?"),
            ("label=labels,labels=4", "column 'labels' has 3 classes, not 4: joy/anger/fear"),
            ("label=first,classes=2", "column 'first' has 3 classes, not 2: joy/anger/fear"),
            (
                "label=labels,labels=joy/anger/feer",
                "train, row 3: label 'fear' is not one of the declared names; did you",
            ),
            ("label=first,classes=3", "1 of 4 rows lack a text or the label, more than 5% (missing=skip"),
            ("label=labels,labels=3,config=raw", "BuilderConfig 'raw' not found. Available: ['default']"),
        ],
    )
    def test_one_line_for_what_is_wrong(self, emotions: Path, spec: str, reason: str) -> None:
        assert reason in fault(emotions, f"path=emotions,{spec}")

    def test_a_folder_without_data(self, tmp_path: Path) -> None:
        (tmp_path / "mood").mkdir()
        message = fault(tmp_path, "path=mood,label=label,classes=2")
        assert message.startswith(f"cannot load {tmp_path / 'mood'}: ") and "data files" in message


ROWS = {"text": ["a", "b"], "label": [1, 0]}


def test_configuration_and_revision_are_asked_for_and_told(hub: Any, tmp_path: Path) -> None:
    asked = hub({"train": ROWS, "validation": ROWS})
    splits = load(tmp_path, "path=owner/name,config=small,revision=v1,label=label,classes=2")
    assert asked == [("owner/name", "small", "v1")]
    assert splits.source == "data set owner/name/small at v1, train and validation"


def test_no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def offline(*_: Any, **__: Any) -> None:
        raise ConnectionError("Couldn't reach 'owner/name' on the Hub\n(LocalEntryNotFoundError)")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    message = fault(tmp_path, "path=owner/name,label=label,classes=2")
    assert message.startswith("cannot load owner/name from the Hugging Face hub (Couldn't reach")
    assert all(way in message for way in ("HF_HOME", "path=FOLDER", "--suite quick"))


def test_an_empty_split(hub: Any, tmp_path: Path) -> None:
    hub({"train": ROWS, "validation": {"text": [], "label": []}})
    assert fault(tmp_path, "path=owner/name,label=label,classes=2").endswith("validation is empty: it has no rows")
