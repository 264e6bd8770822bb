"""Parsing of labels: numbers, names, lists, and zeros and ones."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mtlbench.contract.task import Splits
from mtlbench.errors import UsageError
from mtlbench.plugins.registry import load_registry
from mtlbench.text.labels import Classes, Labels, LabelSets, Scores

STARS = Classes(5, ("1", "2", "3", "4", "5"))
EMOTIONS = LabelSets(3, ("joy", "anger", "fear"))


@pytest.mark.parametrize(
    ("rule", "cell", "label"),
    [
        (Scores(0, 5), "2.5", 2.5),
        (Classes(3), 2.0, 2),
        (Classes(2), True, 1),
        (Classes(3, ("neg", "neu", "pos")), " pos ", 2),
        (Classes(2, ("false", "true")), True, 1),
        (STARS, 5, 4),
        (STARS, "1", 0),
        (STARS, 3.0, 2),
        (LabelSets(4), [0, 3], [1, 0, 0, 1]),
        (LabelSets(4), "0|3", [1, 0, 0, 1]),
        (LabelSets(4), [], [0, 0, 0, 0]),
        (LabelSets(4), "|", [0, 0, 0, 0]),
        (EMOTIONS, ["fear", "joy"], [1, 0, 1]),
        (EMOTIONS, "anger | joy", [1, 1, 0]),
        (LabelSets(3, flags=True), [0, True, 1.0], [0, 1, 1]),
        (LabelSets(3, flags=True), "0|0|1", [0, 0, 1]),
        (Scores(0, 5), "1e0", 1.0),
        (Scores(-5, 5), "+.5", 0.5),
        (Scores(0, 1), "True", 1.0),
        (Scores(0, 5), " 2 ", 2.0),
        (Classes(3), "1.0", 1),
        (Classes(2), "FALSE", 0),
        (Classes(2), "1e0", 1),
        (STARS, "3.0", 2),
        (STARS, "+4", 3),
        (STARS, " 05 ", 4),
        (Classes(2, ("False", "True")), True, 1),
        (Classes(2, ("False", "True")), "TRUE", 1),
        (Classes(2, ("false", "true")), 1.0, 1),
        (Classes(2, ("0", "1")), "False", 0),
        (Classes(2, ("01", "02")), 2, 1),
        (Classes(2, ("9007199254740993", "9007199254740992")), "9007199254740993.0", 0),
        (Classes(2, ("1", "1.0")), "1.0", 1),
        (Classes(3, ("n/a", "good", "bad")), "n/a", 0),
        (Classes(2, ("None", "some")), "None", 0),
        (Classes(2, ("nan", "inf")), "inf", 1),
        (LabelSets(3), "[0, 2]", [1, 0, 1]),
        (LabelSets(3), "0,2", [1, 0, 1]),
        (LabelSets(3), "0; 2", [1, 0, 1]),
        (LabelSets(3), "{0, 2}", [1, 0, 1]),
        (LabelSets(3), "(2,)", [0, 0, 1]),
        (LabelSets(3), "[0 2]", [1, 0, 1]),
        (LabelSets(3), "[0. 2.]", [1, 0, 1]),
        (LabelSets(3), "[np.int64(0), np.int64(2)]", [1, 0, 1]),
        (LabelSets(3), "[]", [0, 0, 0]),
        (LabelSets(3), "set()", [0, 0, 0]),
        (LabelSets(3), (0, 2.0), [1, 0, 1]),
        (EMOTIONS, "['joy', 'fear']", [1, 0, 1]),
        (EMOTIONS, '["joy", "fear"]', [1, 0, 1]),
        (EMOTIONS, "['joy' 'fear']", [1, 0, 1]),
        (EMOTIONS, "['joy'\n 'fear']", [1, 0, 1]),
        (EMOTIONS, "[np.str_('joy')]", [1, 0, 0]),
        (EMOTIONS, "[joy, fear]", [1, 0, 1]),
        (EMOTIONS, "joy;fear", [1, 0, 1]),
        (LabelSets(2, ("a, b", "c|d")), "a, b", [1, 0]),
        (LabelSets(2, ("a, b", "c|d")), "['a, b', 'c|d']", [1, 1]),
        (LabelSets(2, ("it's", 'say "é"')), """["it's", "say \\"\\u00e9\\""]""", [1, 1]),
        (LabelSets(2, ("it's", "very good")), r"['it\'s', 'very good']", [1, 1]),
        (LabelSets(3, flags=True), "[0, 0, 1]", [0, 0, 1]),
        (LabelSets(3, flags=True), "[False, True, 1.0]", [0, 1, 1]),
    ],
)
def test_cells_of_one_column(rule: Labels, cell: Any, label: Any) -> None:
    assert rule.read((cell,)) == label


def test_columns_of_zeros_and_ones() -> None:
    rule = LabelSets(3, ("a", "b", "c"), columns=3)
    assert (
        rule.read(("1", 0, True)) == rule.read(("1.0", "False", "TRUE")) == rule.read((1.0, "0e0", "+1")) == [1, 0, 1]
    )
    with pytest.raises(ValueError, match="label 2 is neither 0 nor 1"):
        rule.read((0, 2, 1))


@pytest.mark.parametrize(
    ("rule", "cell", "reason"),
    [
        (
            Classes(3, ("neg", "neu", "pos")),
            "posi",
            "label 'posi' is not one of the declared names; did you mean pos?",
        ),
        (Classes(3, ("neg", "neu", "pos")), 1, "label 1 is not one of the declared names; they are: neg, neu, pos"),
        (STARS, 0, "label 0 is not one of the declared names; they are: 1, 2, 3, 4, 5"),
        (LabelSets(3), [0, 3], "label 3 is out of range; 0 to 2 are allowed"),
        (LabelSets(3), 1, "label 1 is neither a list nor a text with | between labels"),
        (LabelSets(3), [0, 0, 1], "label [0, 0, 1] names a label twice; for zeros and ones in a list write flags=true"),
        (LabelSets(3), [[0]], "label [0] is not a number"),
        (
            EMOTIONS,
            "joy|feer",
            "label 'feer' is not one of the declared names; did you mean fear? they are: joy, anger",
        ),
        (LabelSets(3, flags=True), [0, 1], "label [0, 1] has 2 entries, but there are 3 labels"),
        (LabelSets(3, flags=True), [0, 1, 7], "label 7 is neither 0 nor 1"),
        (Scores(0, 5), "1,5", "label '1,5' is not a number; write decimals with a point"),
        (Scores(0, 5), "1_0", "label '1_0' is not a number"),
        (Scores(0, 5), "４", "label '４' is not a number"),
        (Scores(0, 5), "85%", "label '85%' is not a number"),
        (Classes(3), "yes", "label 'yes' is not a number"),
        (Classes(2, ("pos", "neg")), "Pos", "did you mean pos?"),
        (Classes(2, ("1", "2")), "1_0", "is not one of the declared names"),
        (Classes(2, ("true", "TRUE")), "True", "is not one of the declared names"),
        (LabelSets(3), "[[0], 2]", "label '[[0], 2]' cannot be read as a list"),
        (LabelSets(3), "[0,, 2]", "cannot be read as a list"),
        (LabelSets(3), '["0", "\\x"]', "cannot be read as a list"),
        (LabelSets(3), "[0 2", "label '[0 2' is not a number"),
        (EMOTIONS, "['joy', None]", "label 'None' is not one of the declared names"),
        (EMOTIONS, {"joy": 1}, "is neither a list nor a text"),
        (LabelSets(2, columns=2), (1, "yes"), "label 'yes' is neither 0 nor 1"),
    ],
)
def test_a_cell_that_cannot_be_read_says_why(rule: Labels, cell: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)) as caught:
        rule.read(cell if rule.columns > 1 else (cell,))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "cell", [None, "", "  ", float("nan"), "NA", "nan", "NaN", "null", "None", "N/A", " #N/A ", "<NA>"]
)
def test_what_is_not_there(cell: Any) -> None:
    for rule in (Scores(0, 5), Classes(3), EMOTIONS, LabelSets(3, ("na", "b", "c"), columns=3)):
        assert rule.missing(cell)


@pytest.mark.parametrize("cell", [0, "0", False, "inf", float("inf"), [], "[]", "|", "no", "-", "missing", ["nan"]])
def test_what_is_there(cell: Any) -> None:
    assert not Classes(3).missing(cell) and not EMOTIONS.missing(cell)


def test_a_class_with_the_name_of_something_missing_is_a_class() -> None:
    rule = Classes(3, ("n/a", "none", "good"))
    assert not rule.missing("n/a") and not rule.missing("none") and rule.missing("") and rule.missing("nan")
    assert not rule.missing("N/A")  # near a name: told, not left out
    with pytest.raises(ValueError, match="label 'N/A' is not one of the declared names"):
        rule.read(("N/A",))


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "json", "parquet"])
def test_forms_of_a_missing_label_are_counted_together(tmp_path: Path, form: str) -> None:
    frame = pd.DataFrame({"text": [f"text {row}" for row in range(43)], "label": ["1", "0"] * 20 + ["NA", "nan", ""]})
    match form:
        case "csv" | "tsv":
            frame.to_csv(tmp_path / f"d.{form}", index=False, sep="," if form == "csv" else "\t")
        case "parquet":
            frame.to_parquet(tmp_path / "d.parquet")
        case _:
            frame.to_json(tmp_path / f"d.{form}", orient="records", lines=form == "jsonl")
    spec = f"train=d.{form},dev=d.{form},label=label,classes=2"
    with pytest.raises(UsageError, match=r"3 of 43 rows lack a text or the label, more than 5% \(missing=skip"):
        load(tmp_path, spec)
    train = load(tmp_path, f"{spec},missing=skip").train
    assert (len(train), train.skipped) == (40, 3)


def test_texts_that_look_missing_are_texts(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("text,label\nNone,1\nNA,0\nnan,1\n1.0,0\nTrue,1\n")
    train = load(tmp_path, "train=d.csv,dev=d.csv,label=label,classes=2").train
    assert list(train.texts) == [("None",), ("NA",), ("nan",), ("1.0",), ("True",)]


def load(folder: Path, spec: str) -> Splits:
    return load_registry().task(f"table[called=t,text=text,{spec}]").load(folder)


ROWS = [("a", ["joy"], 1, 0, 0), ("b", [], 0, 0, 0), ("c", ["joy", "fear"], 1, 0, 1)]
EXPECTED = [[1, 0, 0], [0, 0, 0], [1, 0, 1]]


@pytest.mark.parametrize(
    ("file", "label"),
    [
        ("d.jsonl", "label=set,labels=joy/anger/fear"),
        ("d.parquet", "label=set,labels=joy/anger/fear"),
        ("d.csv", "label=set,labels=joy/anger/fear"),
        ("d.csv", "label=joy/anger/fear"),
        ("d.parquet", "label=joy/anger/fear"),
        ("d.jsonl", "label=joy/anger/fear"),
        ("d.jsonl", "label=flags,labels=3,flags=true"),
    ],
)
def test_every_form_of_several_labels_gives_the_same_rows(tmp_path: Path, file: str, label: str) -> None:
    frame = pd.DataFrame(ROWS, columns=["text", "set", "joy", "anger", "fear"])
    frame["flags"] = frame[["joy", "anger", "fear"]].to_numpy().tolist()
    frame.to_parquet(tmp_path / "d.parquet")
    frame.to_json(tmp_path / "d.jsonl", orient="records", lines=True)
    frame["set"] = frame["set"].map(lambda labels: "|".join(labels) or "|")
    frame.to_csv(tmp_path / "d.csv", index=False)
    splits = load(tmp_path, f"train={file},dev={file},{label}")
    assert splits.train.labels.tolist() == EXPECTED and splits.train.labels.dtype == np.int64
    assert list(splits.train.texts) == [("a",), ("b",), ("c",)]


def test_rows_without_a_label(tmp_path: Path) -> None:
    cells: list[Any] = [None, 1, None, 0, None, 1]
    rows = [json.dumps({"text": f"text {row}", "label": cell}) for row, cell in enumerate(cells)]
    (tmp_path / "d.jsonl").write_text("\n".join(rows))
    with pytest.raises(UsageError, match=r"3 of 6 rows lack a text or the label, more than 5% \(missing=skip"):
        load(tmp_path, "train=d.jsonl,dev=d.jsonl,label=label,classes=2")
    train = load(tmp_path, "train=d.jsonl,dev=d.jsonl,label=label,classes=2,missing=skip").train
    assert (train.labels.tolist(), train.skipped) == ([1, 0, 1], 3)
    assert list(train.texts) == [("text 1",), ("text 3",), ("text 5",)]


def test_empty_texts_are_no_missing_labels(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("text,label\na,1\n ,0\n,\n")
    with pytest.raises(UsageError, match="1 of 2 rows lack a text or the label"):
        load(tmp_path, "train=d.csv,dev=d.csv,label=label,classes=2,missing=skip")


def test_no_label_at_all(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("text,label\na,\nb,\n")
    with pytest.raises(UsageError, match=r"d\.csv has no row with a label$"):
        load(tmp_path, "train=d.csv,dev=d.csv,label=label,classes=2,missing=skip")


class TestShare:
    """A development split made of the training rows."""

    def write(self, folder: Path, rows: int = 300) -> None:
        lines = [f"text {row % 200},{row % 2},{row % 3 if row % 4 else ''}" for row in range(rows)]
        (folder / "d.csv").write_text("\n".join(["text,one,two", *lines]) + "\n")

    def test_no_text_is_on_both_sides_and_none_is_lost(self, tmp_path: Path) -> None:
        self.write(tmp_path)
        splits = load(tmp_path, "train=d.csv,dev=0.2,label=one,classes=2")
        assert len(splits.train) + len(splits.dev) == 300
        assert 0.1 < len(splits.dev) / 300 < 0.3
        assert not {*splits.train.texts} & {*splits.dev.texts}
        assert splits.source == "files, d.csv, of which 0.2 for development"

    def test_tasks_on_the_same_texts_are_split_alike(self, tmp_path: Path) -> None:
        self.write(tmp_path)
        one = load(tmp_path, "train=d.csv,dev=0.2,label=one,classes=2")
        two = load(tmp_path, "train=d.csv,dev=0.2,label=two,classes=3,missing=skip")
        assert len(two.train) < len(one.train) and {*two.dev.texts} <= {*one.dev.texts}
        assert not {*one.train.texts} & {*two.dev.texts} and not {*two.train.texts} & {*one.dev.texts}
        assert (two.train.skipped, two.dev.skipped) == (75, 0)

    @pytest.mark.parametrize("share", ["0", "-0.1", "0.51", "1", "nan", "inf"])
    def test_shares_that_are_none(self, tmp_path: Path, share: str) -> None:
        with pytest.raises(UsageError, match=f"task t: dev={share}"):
            load(tmp_path, f"train=d.csv,dev={share},label=one,classes=2")

    def test_rows_that_are_all_of_one_group(self, tmp_path: Path) -> None:
        (tmp_path / "d.csv").write_text("text,one\n" + "same,1\n" * 20)
        with pytest.raises(UsageError, match="since rows that share a text stay together; give development rows"):
            load(tmp_path, "train=d.csv,dev=0.2,label=one,classes=2")
