"""Files as other programs write them: correct rows, or one line that names the file, the place and the remedy."""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import lzma
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mtlbench.contract.task import Rows
from mtlbench.errors import UsageError
from mtlbench.plugins.registry import load_registry

TWO = "label=label,classes=2"
CSV = b"text,label\na,1\nb,0\n"


def load(folder: Path, name: str, content: str | bytes | None, spec: str = TWO) -> Rows:
    """Read a file with this content, as a task of a user's own does."""
    if content is not None:
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    task = load_registry().task(f"table[called=t,train={name},dev={name},text=text,{spec}]")
    return task.load(folder).train


def fault(folder: Path, name: str, content: str | bytes | None, spec: str = TWO) -> str:
    with pytest.raises(UsageError) as caught:
        load(folder, name, content, spec)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f"{folder}/", "")


def lines(*rows: str, header: str = "text\tlabel") -> str:
    return "\n".join([header, *rows]) + "\n"


def swallowing(delimiter: str) -> str:
    """A table of 252 rows: one text begins with a double quote, and another, 200 rows later, ends with one."""
    rows = [f"text {row}{delimiter}{row % 2}" for row in range(252)]
    rows[50], rows[250] = f'"open{delimiter}0', f'close"{delimiter}1'
    return lines(*rows, header=f"text{delimiter}label")


class TestQuotes:
    def test_a_tsv_is_read_as_it_stands(self, tmp_path: Path) -> None:
        rows = load(tmp_path, "d.tsv", swallowing("\t"))
        assert len(rows) == 252 and rows.texts[50] == ('"open',) and rows.texts[250] == ('close"',)

    @pytest.mark.parametrize("text", ['5" disk', '"one" of two', 'say "no"', '"', '"whole"', "'single'"])
    def test_quotes_in_a_tsv_are_text(self, tmp_path: Path, text: str) -> None:
        assert load(tmp_path, "d.txt", lines(f"{text}\t1")).texts == [(text,)]

    @pytest.mark.parametrize(
        ("row", "reason"),
        [
            ('"say ""no"""\t1', "a text in double quotes with doubled ones in it; give quoting=csv if they are"),
            ('"two\nlines"\t1', "1 fields, but the header has 2, and a double quote without another; give quoting=csv"),
            ('"a\tb"\t1', "3 fields, but the header has 2; quotes are text here"),
        ],
    )
    def test_a_tsv_with_quotes_of_csv_is_told(self, tmp_path: Path, row: str, reason: str) -> None:
        message = fault(tmp_path, "d.tsv", lines("a\t0", row))
        assert message.startswith("d.tsv, line 3: ") and reason in message and "quoting=csv" in message
        text = next(csv.reader([*row.splitlines(keepends=True)], delimiter="\t"))[0]
        assert load(tmp_path, "d.tsv", None, f"{TWO},quoting=csv").texts[1] == (text,)

    def test_label_first_and_a_text_of_two_lines_in_a_tsv_is_told(self, tmp_path: Path) -> None:
        assert "d.tsv, line 3: 1 fields" in fault(tmp_path, "d.tsv", lines('1\t"two', 'lines"', header="label\ttext"))

    def test_a_quoted_header_in_a_tsv_is_told(self, tmp_path: Path) -> None:
        assert "no column 'text'; give quoting=csv;" in fault(tmp_path, "d.tsv", '"text"\t"label"\n"a"\t"1"\n')

    @pytest.mark.parametrize("delimiter", ["\t", ",", ";"])
    def test_rows_between_two_stray_quotes_are_told(self, tmp_path: Path, delimiter: str) -> None:
        spec = f"{TWO},delimiter={delimiter}" if delimiter != "," else TWO
        spec = spec.replace("\t", "tab")
        message = fault(tmp_path, "d.csv", swallowing(delimiter), spec)
        assert message.startswith("d.csv, line 52: a field in double quotes spans 201 lines, 201 of which are rows")
        assert len(load(tmp_path, "d.csv", None, f"{spec},quoting=none")) == 252
        assert len(load(tmp_path, "d.csv", None, f"{spec},quoting=csv")) == 52

    def test_two_rows_and_rows_without_labels_are_told_too(self, tmp_path: Path) -> None:
        assert "spans 2 lines, 2 of which" in fault(tmp_path, "d.csv", 'text,label\n"a,1\nb",0\n')
        some = 'text,label\n"a,1\n' + "c,\n" * 9 + 'b",0\n'
        assert "spans 11 lines, 2 of which" in fault(tmp_path, "d.csv", some, f"{TWO},missing=skip")
        assert "2 of which" in fault(tmp_path, "d.csv", 'text,label\n"one, 1\ntwo",1\n')  # it could be either
        named = 'label,text\nbad,"a\ngood,b"\n'
        assert "2 of which" in fault(tmp_path, "d.csv", named, "label=label,classes=good/bad")

    @pytest.mark.parametrize(
        "text", ["Dear all,\nI am fine, thanks\nbye", "one, 11\ntwo", "a\n\nb", "x,\ny,\nz,", "1,2,3\n4,5,6"]
    )
    def test_texts_of_several_lines_are_read(self, tmp_path: Path, text: str) -> None:
        pd.DataFrame({"text": [text, "b"], "label": [1, 0]}).to_csv(tmp_path / "d.csv", index=False)
        assert load(tmp_path, "d.csv", None).texts == [(text,), ("b",)]

    def test_quotes_with_backslashes(self, tmp_path: Path) -> None:
        content = 'text,label\n"say \\"hi\\", ok",1\n'
        message = fault(tmp_path, "d.csv", content)
        assert message.startswith("d.csv, line 2: ") and "quoting=backslash if they have backslashes" in message
        assert load(tmp_path, "d.csv", None, f"{TWO},quoting=backslash").texts == [('say "hi", ok',)]

    def test_a_space_after_every_delimiter(self, tmp_path: Path) -> None:
        assert load(tmp_path, "d.csv", 'text, label\n"a, b", 1\nc, "0"\n').texts == [("a, b",), ("c",)]
        assert load(tmp_path, "d.csv", 'label, text\n1, "a, b"\n').texts == [("a, b",)]

    def test_a_long_field(self, tmp_path: Path) -> None:
        assert load(tmp_path, "d.csv", f'text,label\n"{"x, " * 70_000}",1\n').texts[0][0].startswith("x, x")
        assert csv.field_size_limit() == 131_072


class TestDelimiters:
    @pytest.mark.parametrize(
        ("delimiter", "name"), [(";", "semicolon"), ("|", "pipe"), (";", ";"), ("|", "|"), ("§", "§"), ("=", "=")]
    )
    def test_one_that_is_named(self, tmp_path: Path, delimiter: str, name: str) -> None:
        content = f"text{delimiter}label\na, b{delimiter}1\n"
        assert load(tmp_path, "d.csv", content, f"{TWO},delimiter={name}").texts == [("a, b",)]
        told = fault(tmp_path, "d.csv", None)
        assert "no column 'text'" in told and (name not in ("semicolon", "pipe") or f"give delimiter={name};" in told)

    @pytest.mark.parametrize("written", ["comma", '","', "COMMA"])
    def test_a_comma_where_the_header_has_a_tab(self, tmp_path: Path, written: str) -> None:
        content = "text,label,a\tb\nx,1,0\n"
        assert "give delimiter=comma" in fault(tmp_path, "d.csv", content)
        assert len(load(tmp_path, "d.csv", None, f"{TWO},delimiter={written}")) == 1

    @pytest.mark.parametrize("written", ["tab", "\\t", '"\t"'])
    def test_a_tab(self, tmp_path: Path, written: str) -> None:
        assert load(tmp_path, "d.tsv", "text\tlabel\na,b\t1\n", f"{TWO},delimiter={written}").texts == [("a,b",)]

    @pytest.mark.parametrize("written", ["ab", '""""', "\\", "comma,quoting=both"])
    def test_none(self, tmp_path: Path, written: str) -> None:
        message = fault(tmp_path, "d.csv", CSV, f"{TWO},delimiter={written}")
        assert (
            "should be one character, or tab, comma" in message or "should be 'csv', 'backslash' or 'none'" in message
        )

    def test_files_without_delimiters(self, tmp_path: Path) -> None:
        assert "are for .csv, .tsv, .txt files" in fault(tmp_path, "d.jsonl", "", f"{TWO},delimiter=tab")
        assert "are for .csv, .tsv, .txt files" in fault(tmp_path, "d.parquet", "", f"{TWO},quoting=none")

    def test_the_first_line_of_excel(self, tmp_path: Path) -> None:
        assert load(tmp_path, "d.csv", "sep=;\ntext;label\na, b;1\n").texts == [("a, b",)]
        assert load(tmp_path, "d.csv", "\ufeffsep=\t\r\ntext\tlabel\r\na\t1\r\n").texts == [("a",)]
        assert "d.csv, line 3: label 'x'" in fault(tmp_path, "d.csv", "sep=|\ntext|label\na|x\n")
        assert "line 1: the delimiter of sep=\\ should be" in fault(tmp_path, "d.csv", "sep=\\\ntext\\label\n")

    def test_both_spellings_are_one_task(self) -> None:
        specs = [f"table[called=t,train=a.csv,dev=b.csv,text=t,{TWO},delimiter={d}]" for d in ("tab", "\\t", '"\t"')]
        assert {load_registry().task(spec).spec for spec in specs} == {specs[0]}


class TestLines:
    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    @pytest.mark.parametrize("name", ["d.csv", "d.tsv"])
    def test_every_end(self, tmp_path: Path, end: str, name: str) -> None:
        delimiter = "," if name == "d.csv" else "\t"
        content = end.join(f"{a}{delimiter}{b}" for a, b in (("text", "label"), ("a", "1"), ("b", "0")))
        for last in ("", end, f"{end}  {end}", f"{end}{delimiter}{end}", end * 3):
            assert load(tmp_path, name, content + last).texts == [("a",), ("b",)]
        assert load(tmp_path, name, f"{end} {end}{content}").texts == [("a",), ("b",)]

    def test_a_stray_carriage_return(self, tmp_path: Path) -> None:
        assert load(tmp_path, "d.tsv", "text\tlabel\r\na\rb\t1\r\n").texts == [("a\rb",)]
        assert load(tmp_path, "d.csv", 'text,label\n"a\rb",1\n').texts == [("a\rb",)]
        message = fault(tmp_path, "d.csv", "text,label\r\na\rb,1\r\n")
        assert message.startswith("d.csv, line 2: a carriage return inside a field; save the file with one kind")

    def test_empty_last_columns(self, tmp_path: Path) -> None:
        assert len(load(tmp_path, "d.csv", "text,label,,\na,1,,\nb,0\nc,1, ,\n,,,\n")) == 3

    @pytest.mark.parametrize("header", ["text,label,label", "label,text,label", "text, label ,label , x"])
    def test_a_column_twice(self, tmp_path: Path, header: str) -> None:
        assert "more than one column 'label'; rename all but one" in fault(tmp_path, "d.csv", f"{header}\na,1,1,1\n")

    def test_names_with_spaces_around_them(self, tmp_path: Path) -> None:
        assert len(load(tmp_path, "d.tsv", " text \t label\na\t1\n")) == 1
        assert load(tmp_path, "d.jsonl", '{"text ": "a", " label": 1}\n').labels.tolist() == [1]
        assert load(tmp_path, "d.csv", "text, label ,label\na,0,1\n").labels.tolist() == [1]  # as written comes first


class TestContent:
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
    @pytest.mark.parametrize("name", ["d.csv", "d.jsonl", "d.json"])
    def test_marked_encodings(self, tmp_path: Path, encoding: str, name: str) -> None:
        content = "text,label\nä—中,1\n" if name == "d.csv" else '{"text": "ä—中", "label": 1}'
        assert load(tmp_path, name, content.encode(encoding)).texts == [("ä—中",)]

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            ("text,label\né,1\n".encode("latin-1"), "line 2: byte 0xe9 is not UTF-8; save the file as UTF-8"),
            ("text,label\na,1\n".encode("utf-16-le"), "line 1: a zero byte: damaged, or in another encoding; save"),
            (b"text,label\na,1\nb\0,1\n", "line 3: a zero byte"),
            (b"\xff\xfe" + "text,label\n".encode("utf-16-le") + b"x", "line 2: byte 0x78 is not UTF-16"),
            (gzip.compress(CSV, mtime=0), "it is compressed with gzip: let its name end with .gz"),
            (bz2.compress(CSV), "it is compressed with bzip2: let its name end with .bz2"),
            (b"PK\x03\x04" + CSV, "it is an archive or a spreadsheet: save its table as CSV"),
            (b"PAR1" + CSV, "it is a parquet file: let its name end with .parquet"),
            (b"", "is empty: it has no rows"),
            (b"\xef\xbb\xbf\n", "is empty: it has no rows"),
        ],
    )
    def test_what_is_no_text_is_told(self, tmp_path: Path, content: bytes, reason: str) -> None:
        message = fault(tmp_path, "d.csv", content)
        assert "d.csv" in message and reason in message

    @pytest.mark.parametrize(("ending", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)])
    def test_packed_files(self, tmp_path: Path, ending: str, pack: object) -> None:
        assert callable(pack)
        record = b'{"text": "a", "label": 1}'
        contents = {"csv": CSV, "tsv": CSV.replace(b",", b"\t"), "TXT": CSV, "jsonl": record, "json": b"[%s]" % record}
        for name, content in contents.items():
            file = f"d.{name}.{ending}"
            assert load(tmp_path, file, pack(content)).texts[0] == ("a",)
            for broken in (content, pack(content * 99)[:-9], pack(content)[:3] + b"xxxxxxxxxxxxxxxx"):
                assert f"data file {file} cannot be read: " in fault(tmp_path, file, broken)
        assert "is of an unknown type" in fault(tmp_path, f"d.parquet.{ending}", b"")
        assert "is of an unknown type" in fault(tmp_path, f"d.{ending}", b"")

    @pytest.mark.parametrize("name", ["d.csv", "d.tsv.gz", "d.json", "d.parquet", "d.jsonl.xz"])
    def test_a_folder(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).mkdir()
        assert f"data file {name} cannot be read: " in fault(tmp_path, name, None)

    def test_home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        (tmp_path / "d.csv").write_bytes(CSV)
        assert len(load(tmp_path / "other", "~/d.csv", None)) == 2


class TestJson:
    ROWS = ({"text": "a", "label": 1}, {"text": 1984, "label": True}, {"text": 2.5, "label": "0"})

    def test_an_array_and_lines_are_the_same(self, tmp_path: Path) -> None:
        made = [
            load(tmp_path, "d.json", json.dumps(self.ROWS)),
            load(tmp_path, "d.json", json.dumps(self.ROWS, indent=2)),
            load(tmp_path, "d.json", "\n".join(map(json.dumps, self.ROWS)) + "\n \n"),
            load(tmp_path, "d.jsonl", "\r\n".join(map(json.dumps, self.ROWS))),
        ]
        assert all(list(rows.texts) == [("a",), ("1984",), ("2.5",)] for rows in made)
        assert all(rows.labels.tolist() == [1, 1, 0] for rows in made)

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            ('[{"text": "a", "label": 1}, 3]', "d.json, row 2: 3 is not a JSON object"),
            ('[{"text": "a", "label": 1}, {"text": "a", "label": 7}]', "d.json, row 2: label 7 is out of range"),
            ('[{"text": "a"', "data file d.json is not JSON (Expecting"),
            ("[" * 100_000, "data file d.json is not JSON"),
            ('{"text": {"0": "a"}, "label": {"0": 1}}', "d.json, line 1: label {'0': 1} is not a number"),
            ('{\n"text": "a"\n}', "d.json, line 1: '{' is not JSON"),
            ("[]", "d.json is empty: it has no rows"),
            ("7", "d.json, line 1: 7 is not a JSON object"),
            ('[{"text": "a", "label": 1, "label": 0}]', "it has the field 'label' twice"),
        ],
    )
    def test_one_line_for_what_is_wrong(self, tmp_path: Path, content: str, reason: str) -> None:
        assert reason in fault(tmp_path, "d.json", content)


class TestParquet:
    def rows(self, folder: Path, spec: str, **columns: object) -> Rows:
        pd.DataFrame({"text": ["a", "b", "c"], **columns}).to_parquet(folder / "d.parquet")
        return load(folder, "d.parquet", None, spec)

    def test_columns_of_every_kind(self, tmp_path: Path) -> None:
        skip = "missing=skip"
        for label, spec in (
            (pd.Categorical(["n", "p", None]), "label=label,classes=n/p"),
            (pd.Categorical([0, 1, None]), TWO),
            ([0.0, 1.0, np.nan], TWO),
            (pd.array([0, 1, None], dtype="Int8"), "label=label,classes=0/1"),
            (pd.array([False, True, None], dtype="boolean"), "label=label,classes=false/true"),
            (["0", "1.0", "nan"], TWO),
        ):
            rows = self.rows(tmp_path, f"{spec},{skip}", label=label)
            assert (rows.labels.tolist(), rows.skipped) == ([0, 1], 1)
        lists = [np.array([0, 2], dtype=np.int8), np.array([], dtype=np.int8), np.array([1], dtype=np.int8)]
        assert self.rows(tmp_path, "label=label,labels=3", label=lists).labels.tolist() == [
            [1, 0, 1],
            [0, 0, 0],
            [0, 1, 0],
        ]

    def test_texts_that_are_numbers_or_bytes(self, tmp_path: Path) -> None:
        assert self.rows(tmp_path, TWO, text=[1984, 7, 0], label=[0, 1, 1]).texts[0] == ("1984",)
        assert self.rows(tmp_path, TWO, text=[b"a", "ä".encode(), b"c"], label=[0, 1, 1]).texts[1] == ("ä",)

    @pytest.mark.parametrize(
        ("text", "label", "spec", "reason"),
        [
            (["a", "b", "c"], [[[0, 2]], [[1]], [[1]]], "label=label,labels=3", "row 1: label [0, 2] is not a number"),
            (pd.to_datetime(["2020", "2021", "2022"]), [0, 1, 1], TWO, "row 1: datetime.datetime(2020, 1, 1, 0, 0)"),
            ([b"a", b"\xff", b"c"], [0, 1, 1], TWO, r"row 2: text b'\xff' is not UTF-8"),
            (["a", "b", "c"], pd.to_datetime(["2020", "2021", "2022"]), TWO, "is not a number"),
            ([["a"], ["b"], ["c"]], [0, 1, 1], TWO, "row 1: ['a'] is not text"),
        ],
    )
    def test_one_line_for_what_is_wrong(
        self, tmp_path: Path, text: object, label: object, spec: str, reason: str
    ) -> None:
        pd.DataFrame({"text": text, "label": label}).to_parquet(tmp_path / "d.parquet")
        message = fault(tmp_path, "d.parquet", None, spec)
        assert message.startswith("d.parquet, row ") and reason in message


def test_what_pandas_writes_is_read_back(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "text": ["a", "b, c", 'd "e"', "f\ng"],
            "whole": pd.array([1, None, 0, 2], dtype="Int64").astype("float"),
            "flag": [True, None, False, True],
            "set": [[0, 2], [], [1], [0]],
            "names": [["joy", "it's"], [], ["joy"], []],
        }
    )
    for name, options in (
        ("d.csv", {}),
        ("d.csv.gz", {}),
        ("d.tsv", {"sep": "\t"}),
        ("d.csv", {"sep": ";", "na_rep": "NA"}),
        ("d.csv", {"na_rep": "nan", "quoting": csv.QUOTE_ALL}),
    ):
        frame.to_csv(tmp_path / name, index=False, **options)  # type: ignore[call-overload]
        how = "quoting=csv,missing=skip" + (",delimiter=;" if options.get("sep") == ";" else "")
        for label, expected in (
            ("whole,classes=3", [1, 0, 2]),
            ("flag,classes=2", [1, 0, 1]),
            ("flag,classes=no/true", None),
            ("set,labels=3", [[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 0, 0]]),
            ("names,labels=joy/it's", [[1, 1], [0, 0], [1, 0], [0, 0]]),
        ):
            if expected is None:
                assert "is not one of the declared names" in fault(tmp_path, name, None, f"label={label},{how}")
            else:
                assert load(tmp_path, name, None, f"label={label},{how}").labels.tolist() == expected


def test_names_with_any_characters_in_a_suite_file_and_on_the_command_line(
    mtlbench: Callable[..., subprocess.CompletedProcess[str]], suite_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "a, b.csv").write_text("text;Rating [1-5];pos/neg\na;5;n/a\nb;2.0;good\nc;1;bad\nd;3;n/a\n")
    files = 'train="a, b.csv",dev="a, b.csv",text=text'
    specs = [
        f'table[called=stars,{files},label="Rating [1-5]",range=1:5,delimiter=";"]',
        f'table[called=mood,{files},label="pos/neg",classes=good/bad/"n/a",delimiter=;]',
        f'table[called=again,{files},label="pos/neg",classes=good/bad/"n/a",delimiter=semicolon]',
    ]
    lines = [line for line in suite_file.read_text().splitlines() if not line.startswith("tasks")]
    literal = ", ".join(f"'{spec}'" for spec in specs)
    (tmp_path / "s.toml").write_text("\n".join([*lines, f"tasks = [{literal}]"]))
    plan = ("--data-dir", str(tmp_path), "--results", str(tmp_path / "results"), "--dry-run")
    for given in (("--suite", str(tmp_path / "s.toml")), ("--tasks", ", ".join(specs)), ("--tasks", " ".join(specs))):
        shown = mtlbench("run", *given, *plan)
        assert shown.returncode == 0, shown.stderr
        assert shown.stderr.count("4 train, 4 dev") == 3 and 'label="Rating [1-5]"' in shown.stderr
    told = mtlbench("run", "--tasks", specs[1].replace("delimiter=;", "delimiter=,"), *plan)
    assert told.returncode == 2 and "commas and outer spaces in double quotes" in told.stderr


def test_no_rows_and_no_header(tmp_path: Path) -> None:
    for name in ("d.csv", "d.tsv"):
        assert "is empty: it has no rows" in fault(tmp_path, name, "text,label\n\n")
    assert "has no column 'text'; it has: a film, 1" in fault(tmp_path, "d.csv", "a film,1\nb,0\n")
