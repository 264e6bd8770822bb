"""The form of a record: the committed page and schema are today's, and every record in the repository has it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from docs.record_page import PAGE, SCHEMA_FILE, page, schema, written
from mtlbench.records.record import check_record
from mtlbench.records.record_file import read_history
from mtlbench.records.store import Store

ROOT = Path(__file__).parents[2]
FOLDERS = [folder for folder in sorted((ROOT / "results").iterdir()) if folder.is_dir()]


def test_the_page_and_the_schema_are_todays() -> None:
    renew = "run: python docs/record_page.py"
    jsonschema.Draft202012Validator.check_schema(schema())
    assert SCHEMA_FILE.read_text(encoding="utf-8") == written(schema()), renew
    text = PAGE.read_text(encoding="utf-8")
    assert page(text, schema()) == text, renew


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks the marks"):
        page("# Records\n", schema())


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_committed_record_and_history_fits_code_and_schema(folder: Path) -> None:
    contents = Store(folder).scan()
    assert contents.records and not contents.damaged
    form = schema()
    records = jsonschema.Draft202012Validator(form)
    rows = jsonschema.Draft202012Validator({**form["$defs"]["HistoryRow"], "$defs": form["$defs"]})
    for record in contents.records:
        check_record(record)
        records.validate({name: value for name, value in record.items() if name != "path"})
        for number, row in enumerate(read_history(record)):
            if number % 50 == 0 or "scores" in row:
                rows.validate(row)


@pytest.mark.parametrize("change", [{"status": "running"}, {"seed": -1}, {"tasks": {}}, {"started": "now"}], ids=str)
def test_code_and_schema_refuse_the_same(change: dict[str, Any]) -> None:
    record: Any = json.loads(next(iter(sorted((ROOT / "results").glob("*/*/*/*.json")))).read_bytes())
    check_record(record)
    with pytest.raises(ValueError, match=f"not the form of a record: {next(iter(change))}"):
        check_record({**record, **change})
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**record, **change}, schema())


def test_an_older_record_without_later_fields_is_read() -> None:
    record: Any = json.loads(next(iter(sorted((ROOT / "results").glob("*/*/*/*.json")))).read_bytes())
    for name in ("engine", "cut", "seen", "floored", "test_scores", "tries", "resumed"):
        record.pop(name, None)
    for task in record["tasks"].values():
        del task["audit"], task["test"]
    check_record(record)
    check_record({**record, "engine": "loop"})
