"""Reader of tables: the same rows from every format, and one clear line for every fault."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from mtlbench.contract.task import Rows
from mtlbench.errors import UsageError
from mtlbench.text.delimited import Dialect
from mtlbench.text.labels import Classes, Labels, Scores
from mtlbench.text.table_reader import read_table

ROWS = [
    ("plain words", "and others", 0.0),
    ('she said "no", twice', "tab\there", 3.75),
    ("two\nlines", "naïve — 中文", 5.0),
    ('"quoted whole"', "a, b; c", 1.0),
]


def write(path: Path, rows: list[tuple[Any, ...]], columns: tuple[str, ...] = ("first", "second", "score")) -> Path:
    """Write the same table in the format that the suffix names, with an index column as CS224N files have."""
    frame = pandas.DataFrame(rows, columns=list(columns))
    match path.suffix:
        case ".csv":
            frame.to_csv(path)
        case ".tsv" | ".txt":
            frame.to_csv(path, sep="\t")
        case ".jsonl":
            frame.to_json(path, orient="records", lines=True, force_ascii=False)
        case ".parquet":
            frame.to_parquet(path)
    return path


def fault(path: Path, *, texts: tuple[str, ...] = ("text",), label: str = "label", rule: Labels = Classes(5)) -> str:
    """Return the error of reading a file, which must be one line that names the file."""
    with pytest.raises(UsageError) as caught:
        read_table(path, texts, [label], rule)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def csv_file(folder: Path, *lines: str) -> Path:
    path = folder / "data.csv"
    path.write_bytes(b"\n".join(line.encode() for line in ("text,label", *lines)) + b"\n")
    return path


def assert_same(rows: Rows, texts: list[tuple[str, ...]], labels: list[float], skipped: int = 0) -> None:
    assert list(rows.texts) == texts
    np.testing.assert_array_equal(rows.labels, labels)
    assert rows.skipped == skipped


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".txt", ".jsonl", ".parquet"])
class TestEveryFormat:
    def test_gives_the_same_rows(self, tmp_path: Path, suffix: str) -> None:
        path, dialect = write(tmp_path / f"d{suffix}", ROWS), Dialect(quoting="csv")
        rows = read_table(path, ["first", "second"], ["score"], Scores(0, 5), dialect=dialect)
        assert_same(rows, [row[:2] for row in ROWS], [row[2] for row in ROWS])
        assert rows.labels.dtype == np.float64

    def test_takes_the_columns_that_are_named(self, tmp_path: Path, suffix: str) -> None:
        path = write(tmp_path / f"d{suffix}", [("a", "x", 1), ("b", "y", 0)], ("other", "words", "class"))
        rows = read_table(str(path), ["words"], ["class"], Classes(2))
        assert_same(rows, [("x",), ("y",)], [1, 0])
        assert rows.labels.dtype == np.int64

    def test_takes_whole_floats_as_classes(self, tmp_path: Path, suffix: str) -> None:
        path = write(tmp_path / f"d{suffix}", [("a", "b", 1.0), ("c", "d", 0.0)])
        assert read_table(path, ["first"], ["score"], Classes(2)).labels.tolist() == [1, 0]

    def test_strips_white_space_around_texts_and_changes_nothing_else(self, tmp_path: Path, suffix: str) -> None:
        path = write(tmp_path / f"d{suffix}", [("  Two  words ,\n", " (x) ", 1)])
        rows = read_table(path, ["first", "second"], ["score"], Classes(2), dialect=Dialect(quoting="csv"))
        assert rows.texts[0] == ("Two  words ,", "(x)")

    def test_skips_and_counts_rows_with_missing_fields(self, tmp_path: Path, suffix: str) -> None:
        rows = [("a", "b", 1.0)] * 60 + [(None, "b", 1.0), ("a", "  ", 1.0), ("a", "b", None)]
        read = read_table(write(tmp_path / f"d{suffix}", rows), ["first", "second"], ["score"], Classes(2))
        assert (len(read), len(read.labels), read.skipped) == (60, 60, 3)

    def test_too_many_missing_fields_are_an_error(self, tmp_path: Path, suffix: str) -> None:
        path = write(tmp_path / f"d{suffix}", [("a", "b", 1.0)] * 18 + [(None, "b", 1.0)] * 2)
        message = fault(path, texts=("first",), label="score")
        place = "row 19" if suffix == ".parquet" else "line 19" if suffix == ".jsonl" else "line 20"
        assert "2 of 20 rows lack a text or the label, more than 5%" in message
        assert message.endswith(f"the first is {place}")

    def test_a_bad_label_names_its_place_and_value(self, tmp_path: Path, suffix: str) -> None:
        path = write(tmp_path / f"d{suffix}", [("a", "b", 1), ("a", "b", 9)])
        place = {".parquet": "row 2", ".jsonl": "line 2"}.get(suffix, "line 3")
        message = fault(path, texts=("first",), label="score")
        assert place in message and "9" in message and "is out of range; 0 to 4 are allowed" in message

    def test_a_missing_column_gives_the_closest_and_all(self, tmp_path: Path, suffix: str) -> None:
        message = fault(write(tmp_path / f"d{suffix}", ROWS), texts=("frist",), label="score")
        assert "has no column 'frist'; did you mean first? it has: first, second, score" in message

    def test_no_rows_are_an_error(self, tmp_path: Path, suffix: str) -> None:
        assert "is empty: it has no rows" in fault(write(tmp_path / f"d{suffix}", []), texts=("first",), label="score")


class TestLabels:
    @pytest.mark.parametrize("label", ["good", "inf", "-inf", "1,0", "0x1", "1e999", "1_0", "１", "٣"])
    def test_not_a_number(self, tmp_path: Path, label: str) -> None:
        message = fault(csv_file(tmp_path, "a,1", f'b,"{label}"'))
        assert f"data.csv, line 3: label '{label}' is not a number" in message

    @pytest.mark.parametrize("label", ["-1", "5", "100"])
    def test_class_out_of_range(self, tmp_path: Path, label: str) -> None:
        assert f"line 2: label '{label}' is out of range; 0 to 4 are allowed" in fault(csv_file(tmp_path, f"a,{label}"))

    def test_class_not_whole(self, tmp_path: Path) -> None:
        message = fault(csv_file(tmp_path, "a,2.5"))
        assert "line 2: label '2.5' is not a class; the classes are the whole numbers 0 to 4" in message

    def test_score_out_of_range(self, tmp_path: Path) -> None:
        message = fault(csv_file(tmp_path, "a,0.5", "a,5.01"), rule=Scores(0.5, 5.0))
        assert "line 3: label '5.01' is out of range; 0.5 to 5 are allowed" in message

    def test_both_ends_of_the_range_are_in_it(self, tmp_path: Path) -> None:
        rows = read_table(csv_file(tmp_path, "a,-1", "a,1"), ["text"], ["label"], Scores(-1, 1))
        assert rows.labels.tolist() == [-1.0, 1.0]

    @pytest.mark.parametrize("label", ["[1]", '{"a": 1}', "Infinity", "1" + "0" * 400, '"one"'])
    def test_json_label_that_is_no_number(self, tmp_path: Path, label: str) -> None:
        path = tmp_path / "d.jsonl"
        path.write_text('{"text": "a", "label": ' + label + "}\n")
        assert "line 1: label " in (message := fault(path)) and "is not a number" in message
        assert len(message) < len(str(path)) + 120


class TestDelimited:
    def test_line_numbers_count_lines_not_rows(self, tmp_path: Path) -> None:
        path = csv_file(tmp_path, '"two\nlines",1', "", '"three\n\nlines",1', '"bad\nlabel",x')
        assert "line 8: label 'x' is not a number" in fault(path)

    def test_windows_line_ends_and_byte_order_mark(self, tmp_path: Path) -> None:
        path = tmp_path / "d.csv"
        path.write_bytes("\ufefftext,label\r\nä,1\r\nb,2\r\n".encode())
        assert_same(read_table(path, ["text"], ["label"], Classes(5)), [("ä",), ("b",)], [1, 2])

    def test_other_delimiter(self, tmp_path: Path) -> None:
        path = tmp_path / "d.csv"
        path.write_text("text;label\na, b;1\n")
        assert_same(read_table(path, ["text"], ["label"], Classes(5), dialect=Dialect(";")), [("a, b",)], [1])

    def test_commas_in_a_tab_separated_header_do_not_matter(self, tmp_path: Path) -> None:
        path = tmp_path / "d.csv"
        path.write_text("text\tlabel, 0 to 4\na, b\t1\n")
        assert_same(read_table(path, ["text"], ["label, 0 to 4"], Classes(5)), [("a, b",)], [1])

    def test_short_row_is_missing_fields(self, tmp_path: Path) -> None:
        path = csv_file(tmp_path, *["a,1"] * 30, "b")
        assert read_table(path, ["text"], ["label"], Classes(5)).skipped == 1

    def test_long_row(self, tmp_path: Path) -> None:
        assert "line 3: 3 fields, but the header has 2" in fault(csv_file(tmp_path, "a,1", "well, this,1"))

    def test_empty_fields_at_the_end_of_a_row_are_no_fault(self, tmp_path: Path) -> None:
        assert len(read_table(csv_file(tmp_path, "a,1,,"), ["text"], ["label"], Classes(5))) == 1

    @pytest.mark.parametrize("text", ['"open,1\nb,1\nc,1', '"word" and more,1\nb,1', '"' + "x" * 200_000])
    def test_stray_quote_is_named_where_it_opens(self, tmp_path: Path, text: str) -> None:
        message = fault(csv_file(tmp_path, "a,1", text))
        assert ", line 3: " in message and "must be in double quotes" in message

    def test_column_twice(self, tmp_path: Path) -> None:
        path = tmp_path / "d.csv"
        path.write_text("text,text,label\na,b,1\n")
        assert "has more than one column 'text'" in fault(path)


class TestJsonLines:
    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            ('{"text": "a", "label": 1', "is not JSON"),
            ("text", "is not JSON"),
            ("[" * 100_000, "is not JSON"),
            ('["a", 1]', "is not a JSON object with named fields"),
            ('{"text": ["a"], "label": 1}', "['a'] is not text"),
            ('{"text": true, "label": 1}', "True is not text"),
            ('{"text": "a", "text": "b", "label": 1}', "the field 'text' twice"),
            ('{"text": "\\ud800", "label": 1}', "holds half a surrogate pair"),
        ],
    )
    def test_bad_line(self, tmp_path: Path, line: str, reason: str) -> None:
        path = tmp_path / "d.jsonl"
        path.write_text('{"text": "a", "label": 1}\n\n' + line + "\n")
        message = fault(path)
        assert ", line 3: " in message and reason in message and len(message) < len(str(path)) + 220

    def test_a_field_left_out_is_missing(self, tmp_path: Path) -> None:
        path = tmp_path / "d.ndjson"
        path.write_text("\n".join(['{"label": 1}'] + [json.dumps({"text": "a\u2028b", "label": 1})] * 30))
        rows = read_table(path, ["text"], ["label"], Classes(2))
        assert (len(rows), rows.skipped, rows.texts[0]) == (30, 1, ("a\u2028b",))


class TestFile:
    def test_missing(self, tmp_path: Path) -> None:
        assert fault(tmp_path / "no.csv") == f"data file {tmp_path / 'no.csv'} does not exist"

    def test_nothing_in_it(self, tmp_path: Path) -> None:
        for suffix in (".csv", ".jsonl"):
            path = tmp_path / f"d{suffix}"
            path.write_bytes(b"\n")
            assert "is empty" in fault(path)

    def test_unknown_type(self, tmp_path: Path) -> None:
        path = tmp_path / "data.xlsx"
        path.touch()
        assert "give .csv, .tsv, .jsonl, .json or .parquet" in fault(path)

    def test_folder(self, tmp_path: Path) -> None:
        for name in ("d.csv", "d.parquet"):
            (tmp_path / name).mkdir()
            assert "cannot be read" in fault(tmp_path / name)

    @pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
    def test_not_utf8(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"d{suffix}"
        path.write_bytes(b"text,label\na,1\ncaf\xe9,1\n")
        assert ", line 3: byte 0xe9 is not UTF-8" in fault(path)

    def test_not_parquet(self, tmp_path: Path) -> None:
        path = tmp_path / "d.parquet"
        path.write_bytes(b"text,label\na,1\n" * 10)
        assert "cannot be read" in fault(path)


@pytest.mark.parametrize("place", [b"film", b"label"])
def test_a_parquet_file_whose_text_is_not_utf8_is_one_line(tmp_path: Path, place: bytes) -> None:
    """Found by fuzzing: a traceback."""
    from pyarrow import parquet, table

    path = tmp_path / "broken.parquet"
    options = {"compression": "none", "use_dictionary": False, "write_statistics": False, "store_schema": False}
    parquet.write_table(table({"text": ["film"], "label": [1]}), path, **options)
    path.write_bytes(path.read_bytes().replace(place, place[:-1] + b"\xed"))
    with pytest.raises(UsageError, match="cannot be read: 'utf-8' codec"):
        read_table(path, ["text"], ["label"], Classes(3))
