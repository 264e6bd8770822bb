"""The tasks on real text: CS224N files where they are, the hub with a stand-in, and tasks from one's own files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from real_data import REAL, needs_files

from mtlbench.contract.task import Rows, Splits, Task
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


class TestSimilarity:
    labels = np.array([0.0, 1.0, 5.0, 4.0])
    rows = Rows([("a", "b")] * 4, labels)
    splits = Splits(rows, rows, "here")

    def test_targets_are_standardised_or_raw(self) -> None:
        standardised = make("stsb").targets(self.splits, self.labels)
        assert standardised.mean() == pytest.approx(0, abs=1e-6) and standardised.std() == pytest.approx(1)
        raw = make("stsb[target=raw]").targets(self.splits, self.labels)
        assert raw.dtype == np.float32
        np.testing.assert_array_equal(raw, self.labels)

    def test_pearson_loss_is_one_minus_pearson(self) -> None:
        torch = pytest.importorskip("torch")
        outputs = torch.tensor([[0.3], [0.1], [2.0], [0.7]], dtype=torch.float64)
        expected = 1 - np.corrcoef(outputs[:, 0], self.labels)[0, 1]
        task = make("stsb[loss_function=pearson]")
        assert task.loss(outputs, torch.from_numpy(self.labels)).item() == pytest.approx(expected)
        assert task.loss(7 * outputs - 3, torch.from_numpy(self.labels)).item() == pytest.approx(expected)

    def test_pearson_loss_of_constant_outputs_and_of_one_row_is_finite(self) -> None:
        torch = pytest.importorskip("torch")
        task = make("stsb[loss_function=pearson]")
        for size in (1, 4):
            outputs = torch.ones(size, 1, requires_grad=True)
            loss = task.loss(outputs, torch.arange(size).float())
            (gradient,) = torch.autograd.grad(loss, outputs)
            assert loss.item() == 1.0 and torch.isfinite(gradient).all()

    def test_mse_loss(self) -> None:
        torch = pytest.importorskip("torch")
        assert make("stsb").loss(torch.zeros(2, 1), torch.tensor([1.0, 3.0])).item() == 5.0


class TestTable:
    spec = "table[called=reviews,train=a.csv,dev=b.tsv,text=review,label=stars,classes=5]"

    def write(self, folder: Path) -> None:
        (folder / "a.csv").write_text("review,stars,reply\ngood,4,thanks\nbad,0,sorry\n")
        (folder / "b.tsv").write_text("review\tstars\treply\nfine\t3\tok\n")

    def test_classification(self, tmp_path: Path) -> None:
        self.write(tmp_path)
        task = make(self.spec)
        splits = task.load(tmp_path)
        assert (task.key, task.prediction, task.outputs) == ("reviews", "classification", 5)
        assert task.metrics == ("accuracy", "macro_f1")
        assert list(splits.train.texts) == [("good",), ("bad",)] and splits.train.labels.tolist() == [4, 0]
        assert list(splits.dev.texts) == [("fine",)]

    def test_regression_on_pairs_from_the_current_folder(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        self.write(tmp_path)
        monkeypatch.chdir(tmp_path)
        task = make("table[called=r,train=a.csv,dev=b.tsv,text=review,text2=reply,label=stars,range=-0.5:4.5]")
        assert (task.prediction, task.outputs) == ("regression", 1)
        splits = task.load(None)
        assert splits.train.texts[0] == ("good", "thanks") and splits.train.labels.dtype == np.float64

    def test_absolute_paths_win_over_the_data_folder(self, tmp_path: Path) -> None:
        self.write(tmp_path)
        spec = self.spec.replace("a.csv", str(tmp_path / "a.csv")).replace("b.tsv", str(tmp_path / "b.tsv"))
        assert len(make(spec).load(tmp_path / "elsewhere").train) == 2

    def test_spec_makes_the_same_task_again(self) -> None:
        assert make(make(self.spec).spec) == make(self.spec)

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (("classes=5", "classes=1"), "classes=1 should be 2 or more"),
            (("classes=5", "classes=five"), "classes=five should be a number, or two or more names with / between"),
            (("classes=5", "classes=a//b"), "classes=a//b should be a number, or two or more names with / between"),
            (("classes=5", "classes=a/b/a"), "classes=a/b/a should be a number, or two or more names with / between"),
            (("classes=5", "classes=5,range=0:5"), "give exactly one of classes=NUMBER, range=LOW:HIGH, labels="),
            (("classes=5", "classes=5,labels=5"), "give exactly one of classes=NUMBER, range=LOW:HIGH, labels="),
            ((",classes=5", ""), "give exactly one of classes=NUMBER, range=LOW:HIGH, labels="),
            (("label=stars", "label=one/two"), "give exactly one of classes=NUMBER, range=LOW:HIGH, labels="),
            (("classes=5", "classes=5,flags=true"), "flags=true is for lists of 0 and 1, with labels=..."),
            (
                ("classes=5", "classes=5,metric=accurac"),
                "unknown metric of classification task reviews: 'accurac'; did",
            ),
            (
                ("classes=5", "range=0:5,metric=accuracy"),
                "unknown metric of regression task reviews: 'accuracy'; known",
            ),
            (("classes=5", "classes=5,missing=all"), "missing=all should be 'few' or 'skip'"),
            (("classes=5", "range=5:0"), "range=5:0 should be LOW:HIGH with LOW < HIGH"),
            (("classes=5", "range=0:inf"), "range=0:inf should be LOW:HIGH"),
            (("classes=5", "range=5"), "range=5 should be LOW:HIGH"),
            (("label=stars", "label=review"), "column 'review' cannot be both text and label"),
            (("called=reviews", "called=a b/c"), "parameter called='a b/c' may hold letters"),
            (("called=reviews,", ""), "task table needs called"),
            (("text=review", "txet=review"), "did you mean text"),
        ],
    )
    def test_bad_parameters(self, change: tuple[str, str], reason: str) -> None:
        with pytest.raises(UsageError) as caught:
            make(self.spec.replace(*change))
        assert reason in str(caught.value) and "\n" not in str(caught.value)

    def test_missing_file(self, tmp_path: Path) -> None:
        assert fault(make(self.spec), tmp_path) == f"data file {tmp_path / 'a.csv'} does not exist"


def test_every_task_says_its_source_and_summary() -> None:
    for name in ("sst5", "qqp", "stsb", "table"):
        cls = load_registry().tasks[name]
        assert cls.source and cls.summary().endswith(".")


def test_finding_tasks_imports_nothing_heavy() -> None:
    code = (
        "import sys; from mtlbench.plugins.registry import load_registry; import mtlbench.text.floors; load_registry();"
        "print({'torch', 'pandas', 'datasets', 'pyarrow', 'sklearn', 'scipy'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
