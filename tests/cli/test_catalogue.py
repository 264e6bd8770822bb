"""``mtlbench list`` and ``mtlbench info``."""

from __future__ import annotations

import json

import pytest
from command_line import command_line


@pytest.mark.parametrize("what", ["methods", "tasks", "problems", "suites"])
def test_lists_are_tables_and_json(what: str) -> None:
    known = {"methods": "pcgrad", "tasks": "stsb", "problems": "digits", "suites": "cs224n-small"}[what]
    assert known in command_line("list", what).stdout
    entries = json.loads(command_line("list", what, "--json").stdout)
    assert all(entry["summary"] for entry in entries) and known in {entry["name"] for entry in entries}


@pytest.mark.parametrize("name", ["cagrad", "sst5", "quick", "encoder"])
def test_info_explains_methods_tasks_and_suites(name: str) -> None:
    assert name in command_line("info", name).stdout
    assert json.loads(command_line("info", name, "--json").stdout)["name"] == name
