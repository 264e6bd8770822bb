"""``docs/report.schema.json`` describes the JSON report: all of it, and as it is.

It is made from the classes of ``mtlbench.report.result``, whose docstrings become its descriptions. After a change of
them: ``python tests/report/test_schema.py`` writes it anew.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from factory import failed, grid, record
from pydantic import TypeAdapter

from mtlbench.report import render
from mtlbench.report import result as model
from mtlbench.report.build import build
from mtlbench.report.json_csv import SCHEMA

FILE = Path(__file__).parents[2] / "docs" / "report.schema.json"

LISTS = {
    "summary": (model.Score, "Every method on every metric, over its finished seeds."),
    "cost": (model.Cost, "What every method costs."),
    "delta_m": (model.DeltaM, "Δm of every joint method."),
    "mean_rank": (model.MeanRank, "Ranks among the joint methods."),
    "comparisons": (model.Difference, "Every other method against the baseline, on every metric."),
    "delta_m_comparisons": (model.Difference, "Every joint method's Δm against the baseline's."),
    "rankings": (model.Ranking, "Friedman's test of the joint methods' ranks."),
    "pairs": (model.Difference, "Every two joint methods against each other, on what the ranking ranks."),
    "example_intervals": (model.ExampleInterval, "Intervals over seeds and development rows at once, where asked for."),
    "missing": (model.Missing, "Cells without a record."),
    "failed": (model.Failed, "Cells that could not go on."),
}
PLACE = {
    "suite": {"type": "string", "description": "The suite of the group."},
    "group": {"type": "string", "description": "Only cells of one group are compared; see docs/records.md."},
}
CLAIMS = {
    "verdict": {
        "enum": ["higher", "lower", "not separable", "too few seeds"],
        "description": "What may be claimed of the difference.",
    },
    "within_margin": {
        "type": "boolean",
        "description": "Whether a declared margin is shown to hold the difference.",
    },
}
"""What a comparison tells beside its fields."""


def described(cls: type) -> dict[str, Any]:
    """Return a class's fields as properties, each with the string that stands under it."""
    told: dict[str, str] = {}
    for one in reversed(cls.__mro__[:-1]):  # what is inherited is told where it is declared
        body = ast.parse(inspect.getsource(one)).body[0]
        assert isinstance(body, ast.ClassDef)
        for statement, following in zip(body.body, body.body[1:], strict=False):
            if (
                isinstance(statement, ast.AnnAssign)
                and isinstance(statement.target, ast.Name)
                and isinstance(following, ast.Expr)
                and isinstance(following.value, ast.Constant)
            ):
                told[statement.target.id] = " ".join(str(following.value.value).replace("``", "").split())
    schema = TypeAdapter(cls).json_schema(mode="serialization")
    definitions = schema.get("$defs", {})
    properties = {}
    for field in dataclasses.fields(cls):
        found = dict(_inlined(schema["properties"][field.name], definitions))
        for noise in ("title", "default"):
            found.pop(noise, None)
        properties[field.name] = found | ({"description": told[field.name]} if field.name in told else {})
    return properties


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    """Return a schema without references."""
    if isinstance(schema, list):
        return [_inlined(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        found = _inlined(definitions[schema["$ref"].rpartition("/")[2]], definitions)
        return {name: value for name, value in found.items() if name not in ("title", "description")}
    return {name: _inlined(value, definitions) for name, value in schema.items() if name != "title"}


def object_of(properties: dict[str, Any], description: str = "") -> dict[str, Any]:
    """Return an object that has these properties and no other."""
    told = {"description": description} if description else {}
    return {**told, "type": "object", "properties": properties, "required": list(properties)} | {
        "additionalProperties": False
    }


def list_of(items: dict[str, Any], description: str) -> dict[str, Any]:
    return {"description": description, "type": "array", "items": items}


def schema() -> dict[str, Any]:
    """Return the schema of the JSON report."""
    text = {"type": "string"}
    lists = {}
    for name, (cls, description) in LISTS.items():
        properties = PLACE | described(cls) | (CLAIMS if cls is model.Difference else {})
        lists[name] = list_of(object_of(properties), description)
    groups = described(model.GroupReport)
    names = ["group", "suite", "heading", "encoder", "recipe", "split", "methods", "seeds", "baseline", "tasks"]
    task = object_of(described(model.ScoredTask))
    group = {name: groups[name] for name in [*names, "headline", "cautions", "notes"]} | {
        "tasks": list_of(task, "The tasks.")
    }
    properties = {
        "schema": {"const": SCHEMA, "description": "Version of this form."},
        "baseline": {"type": "string", "description": "The method that the others are compared with, as asked for."},
        "confidence": {"type": "number", "description": "Of every interval; 1 - it is the level of every test."},
        "headline": list_of(text, "The result in words."),
        "groups": list_of(object_of(group), "Every group of cells, without its results."),
        **lists,
        "damaged": list_of(object_of({"path": text, "reason": text}), "Records that could not be read."),
        "notes": list_of(text, "What else is to be known, in words."),
    }
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mtlbench report --format json",
        "description": "A report: flat lists of objects, each naming its suite and group. null: the data cannot say.",
    }
    return head | object_of(properties)


def written(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def test_the_file_is_the_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    assert FILE.read_text(encoding="utf-8") == written(schema()), f"run: python tests/report/{Path(__file__).name}"


@pytest.mark.parametrize(
    "records",
    [
        [*grid({"stl": 0.0, "sum": 0.0, "pcgrad": 0.03, "mgda": -0.4}, 6), failed("mgda", 6), record("sum", 7)],
        grid({"sum": 0.0, "pcgrad": 0.03}, 2),
        [record(), record("pcgrad", group="b" * 64, suite="other")],
        [failed("sum", 0)],
        [record(pairing=None, conflict=None, cost={}), record("pcgrad", pairing=None, scores={"sst5": {}})],
    ],
    ids=["full", "few seeds", "two groups", "failed", "old records"],
)
def test_every_report_has_the_form(records: list[dict[str, Any]]) -> None:
    made = json.loads(render(build(records, [("a.json", "not JSON")]), "json"))
    jsonschema.validate(made, json.loads(FILE.read_text(encoding="utf-8")), jsonschema.Draft202012Validator)


if __name__ == "__main__":
    FILE.write_text(written(schema()), encoding="utf-8")
