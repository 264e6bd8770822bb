"""Tasks from your own files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from task_faults import fault, make

from mtlbench.errors import UsageError


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
