"""The caption on the recipe: the norm of the shared update."""

from __future__ import annotations

import html
import json
from typing import Any

import pytest
from factory import grid, record

from mtlbench.report import render
from mtlbench.report.build import build

NORM = "every method's is brought to the norm of the plain sum"


def with_norm(value: str | None, group: str = "a") -> list[dict[str, Any]]:
    """Return a small grid whose recipe names the norm of the update, or omits it as in older records."""
    recipe = {**record()["recipe"], **({} if value is None else {"update_norm": value})}
    return [{**cell, "recipe": recipe, "group": group * 64} for cell in grid({"sum": 0.0, "mgda": 0.01}, 4)]


@pytest.mark.parametrize("format", ["text", "markdown", "html", "latex"])
def test_the_caption_states_a_norm_that_is_not_native(format: str) -> None:
    def words(value: str | None) -> str:
        return " ".join(html.unescape(render(build(with_norm(value)), format)).split())

    assert NORM in words("sum")
    assert words("native") == words(None)
    assert "update_norm" not in words("native") and NORM not in words("native")


def test_the_norm_is_in_the_json_recipe() -> None:
    parsed: dict[str, Any] = json.loads(render(build(with_norm("sum")), "json"))
    assert parsed["groups"][0]["recipe"]["update_norm"] == "sum"


def test_headings_distinguish_norms_and_older_records_are_native() -> None:
    def headings(*groups: list[dict[str, Any]]) -> list[str]:
        return [group.heading for group in build([cell for group in groups for cell in group]).groups]

    assert headings(with_norm("sum", "a"), with_norm("native", "b")) == [
        "quick (update_norm=sum)",
        "quick (update_norm=native)",
    ]
    other = [{**cell, "recipe": {**cell["recipe"], "lr": 1e-3}} for cell in with_norm("native", "b")]
    assert all("update_norm" not in heading for heading in headings(with_norm(None, "a"), other))
