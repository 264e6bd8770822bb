"""The JSON of a report, and the grid that the report tests use."""

from __future__ import annotations

import json
from typing import Any

from mtlbench.report import render
from mtlbench.report.build import build

GAINS = {"stl": 0.01, "sum": 0.0, "pcgrad": 0.004, "cagrad[c=0.4]": 0.03, "mgda": -0.2}


DAMAGED = [("results/ab/record.json", "not JSON: line 1")]


def as_json(records: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
    """Return the parsed JSON of a report; fail on NaN and Infinity.

    :param records: the records to report on.
    :param options: further options of :func:`mtlbench.report.build.build`.
    """

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    parsed: dict[str, Any] = json.loads(render(build(records, DAMAGED, **options), "json"), parse_constant=refuse)
    return parsed
