"""The report on problems, in all formats: what has no meaning for a problem is not in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from factory import record
from problem_runs import APART, POINTS, train, workload_of

from mtlbench.diagnose.text import by_group
from mtlbench.records.group_names import headings
from mtlbench.records.groups import collect
from mtlbench.report import FORMATS, render
from mtlbench.report.build import build
from mtlbench.report.predictions import right_answers

SCHEMA = Path(__file__).parents[2] / "docs" / "report.schema.json"


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    folder = tmp_path_factory.mktemp("problems")
    train(folder, workload_of(POINTS, steps=20), seeds=(0, 1, 2))
    return train(folder, workload_of(APART, "apart", steps=20, sampling="sqrt"), seeds=(0, 1, 2))


def page(records: list[Any], format: str) -> str:
    report = build(records, examples=right_answers)
    return render(report, format, width=400, records=records, findings=by_group(records))


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_speaks_of_the_problem(records: list[Any], format: str) -> None:
    text = page(records, format).replace("{[}", "[").replace("{]}", "]")  # as LaTeX writes brackets
    for task in ("side", "sum", "signs", "place"):
        assert task in text
    if format == "csv":
        return
    assert "points[unlabelled=0.3]" in text and "apart-points" in text
    if format == "json":
        jsonschema.validate(json.loads(text), json.loads(SCHEMA.read_text(encoding="utf-8")))
        assert [group["problem"] for group in json.loads(text)["groups"]] == [POINTS, APART]
        return
    assert "Problem: points" in text or format == "html"
    for word in ("Encoder", "encoder", "model=", "max_length", "max\\_length", "checkpointing", "engine=", "tuned_on"):
        assert word not in text, word


def test_groups_are_told_apart_by_what_users_write(records: list[Any], tmp_path: Path) -> None:
    titles = headings(collect(records))
    assert titles == [
        "tiny-problem (problem=points[unlabelled=0.3], sampling=uniform)",
        "apart (problem=apart-points[unlabelled=0.3], sampling=sqrt)",
    ]
    wide = train(tmp_path, workload_of("points[width=7]", steps=20), ["sum"], [0])
    points = [record for record in records if record["recipe"]["problem"] == POINTS]
    assert headings(collect([*points, *wide])) == [
        "tiny-problem (problem=points[unlabelled=0.3])",
        "tiny-problem (problem=points[width=7])",
    ]


def test_the_same_problem_on_other_data_or_with_other_code_is_told_apart(records: list[Any]) -> None:
    first = next(one for one in records if one["recipe"]["problem"] == POINTS)
    other = json.loads(json.dumps(first))
    other |= {"group": "b" * 64, "key": "c"}
    for task in other["tasks"].values():
        task["fingerprint"] = "f" * 64
    own = first["tasks"]["side"]["fingerprint"][:8]
    titles = {f"tiny-problem (data={own})", "tiny-problem (data=ffffffff)"}
    assert set(headings(collect([first, other]))) == titles
    other["encoder"]["fingerprint"] = "e" * 64
    assert "tiny-problem (code=eeeeeeee, data=ffffffff)" in headings(collect([first, other]))


def test_texts_beside_a_problem_have_no_problem(records: list[Any]) -> None:
    texts = record("sum")
    title = next(title for title in headings(collect([texts, *records])) if title.startswith(texts["suite"]))
    assert "problem" not in title and "model=" in title
    ours = next(title for title in headings(collect([texts, *records])) if title.startswith("apart"))
    assert "model" not in ours and "max_length" not in ours and "encoder" not in ours
