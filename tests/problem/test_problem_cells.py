"""A problem's cell, from the command line to records."""

from __future__ import annotations

import json
from pathlib import Path

from command_line import command_line

from mtlbench.recipe.suite import Recipe
from mtlbench.text.encoder import libraries_of


def test_libraries_of_recipes() -> None:
    assert libraries_of(Recipe(problem="digits", steps=1, batch_size=8, lr=0.1)) == ()
    assert libraries_of(Recipe(tasks=("sst2",), model="minilm", steps=1, batch_size=8, lr=0.1)) == ()


def test_a_cell_of_a_problem_trains_in_a_process_of_its_own(tmp_path: Path) -> None:
    options = ["--problem", "digits[rows=300,dev_rows=100]", "--methods", "sum", "--seeds", "1", "--steps", "3"]
    done = command_line("run", *options, "--results", tmp_path)
    assert done.returncode == 0, done.stderr
    records = [json.loads(file.read_text()) for file in tmp_path.glob("*/*/seed-0-*.json")]
    assert [record["status"] for record in records] == ["done"]
    assert {record["engine"]["name"] for record in records} == {"surgery"}
