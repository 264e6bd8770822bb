"""``docs/report.schema.json`` describes the JSON report completely and exactly.

It is generated from the classes of ``mtlbench.report.result``, whose docstrings become its descriptions. After changing
them, regenerate it with ``python tests/report/test_schema.py``.
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
    "cost": (model.Cost, "Cost of every method."),
    "delta_m": (model.DeltaM, "Δm of every joint method."),
    "mean_rank": (model.MeanRank, "Ranks among the joint methods."),
    "comparisons": (model.Difference, "Every other method against the baseline, on every metric."),
    "delta_m_comparisons": (model.Difference, "Every joint method's Δm against the baseline's."),
    "rankings": (model.Ranking, "Friedman's test of the joint methods' ranks."),
    "pairs": (model.Difference, "Every two joint methods against each other, on the numbers of the ranking."),
    "example_intervals": (model.ExampleInterval, "Intervals over seeds and development rows at once, if requested."),
    "watched": (model.WatchedTask, "Every task of watched runs: users' own training, compared with nothing."),
    "watched_methods": (model.WatchedMethod, "Weights that methods would have given in watched runs."),
    "missing": (model.Missing, "Cells without a record."),
    "failed": (model.Failed, "Cells that stopped with an error."),
}
PLACE = {
    "suite": {"type": "string", "description": "The suite of the group."},
    "group": {
        "type": "string",
        "description": "Group id; only cells of one group are compared: see docs/records.md.",
    },
}
CLAIMS = {
    "verdict": {
        "enum": ["higher", "lower", "not separable", "too few seeds"],
        "description": "The claim that the difference supports.",
    },
    "within_margin": {
        "type": "boolean",
        "description": "Whether the difference is shown to lie within the declared margin.",
    },
}
"""Properties of a comparison that are not fields of its class."""


def described(cls: type) -> dict[str, Any]:
    """Return a class's fields as properties, each with the docstring below it."""
    docstrings: dict[str, str] = {}
    for base in reversed(cls.__mro__[:-1]):  # the docstring of an inherited field is in the base class
        body = ast.parse(inspect.getsource(base)).body[0]
        assert isinstance(body, ast.ClassDef)
        for statement, following in zip(body.body, body.body[1:], strict=False):
            if (
                isinstance(statement, ast.AnnAssign)
                and isinstance(statement.target, ast.Name)
                and isinstance(following, ast.Expr)
                and isinstance(following.value, ast.Constant)
            ):
                docstrings[statement.target.id] = " ".join(str(following.value.value).replace("``", "").split())
    schema = TypeAdapter(cls).json_schema(mode="serialization")
    definitions = schema.get("$defs", {})
    properties = {}
    for field in dataclasses.fields(cls):
        field_schema = dict(_inlined(schema["properties"][field.name], definitions))
        for noise in ("title", "default"):
            field_schema.pop(noise, None)
        description = {"description": docstrings[field.name]} if field.name in docstrings else {}
        properties[field.name] = field_schema | description
    return properties


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    """Return a schema without references."""
    if isinstance(schema, list):
        return [_inlined(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        target = _inlined(definitions[schema["$ref"].rpartition("/")[2]], definitions)
        return {name: value for name, value in target.items() if name not in ("title", "description")}
    return {name: _inlined(value, definitions) for name, value in schema.items() if name != "title"}


def object_of(properties: dict[str, Any], description: str = "") -> dict[str, Any]:
    """Return the schema of an object with exactly these properties."""
    head = {"description": description} if description else {}
    return {**head, "type": "object", "properties": properties, "required": list(properties)} | {
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
    names = [
        "group",
        "suite",
        "heading",
        "encoder",
        "problem",
        "recipe",
        "split",
        "methods",
        "seeds",
        "baseline",
        "tasks",
    ]
    task = object_of(described(model.ScoredTask))
    group = {name: groups[name] for name in [*names, "headline", "cautions", "notes"]} | {
        "tasks": list_of(task, "The tasks.")
    }
    properties = {
        "schema": {"const": SCHEMA, "description": "Version of this form."},
        "baseline": {"type": "string", "description": "The method that the others are compared with, as requested."},
        "confidence": {
            "type": "number",
            "description": "Confidence of every interval; every test has the level 1 - confidence.",
        },
        "headline": list_of(text, "The result in words."),
        "groups": list_of(object_of(group), "Every group of cells, without its results."),
        **lists,
        "damaged": list_of(object_of({"path": text, "reason": text}), "Records that could not be read."),
        "notes": list_of(text, "Further remarks, in words."),
    }
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mtlbench report --format json",
        "description": "A report: flat lists of objects, each with its suite and group. null: the data give no value.",
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
    cells = json.loads(render(build(records, [("a.json", "not JSON")]), "json"))
    jsonschema.validate(cells, json.loads(FILE.read_text(encoding="utf-8")), jsonschema.Draft202012Validator)


if __name__ == "__main__":
    FILE.write_text(written(schema()), encoding="utf-8")
