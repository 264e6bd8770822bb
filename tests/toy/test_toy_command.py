"""``mtlbench toy``: its table, data and figures, and the options that it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import command_line

from mtlbench.plugins.registry import load_registry


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the command in an empty folder, where it writes its files."""
    monkeypatch.chdir(tmp_path)


def test_the_command_prints_a_table_and_writes_data_and_figures(tmp_path: Path) -> None:
    done = command_line(
        "toy", "--methods", "sum,cagrad[c=0.5],stl", "--setting", "nash", "--steps", "40", "--jobs", "1"
    )
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80 and "\x1b" not in done.stdout
    assert lines[0] == "Toy problem, setting nash, first loss times 0.1: Adam, lr 0.001, 40 steps"
    assert lines[2].split() == ["method", "start", "end", "loss", "1", "loss", "2", "mean", "reached"]
    assert sum(line.endswith((" no", " yes")) for line in lines) == 10
    assert "skipped stl: it trains one model per task" in done.stdout
    assert "wrote toy/toy.json" in done.stderr
    data = json.loads((tmp_path / "toy" / "toy.json").read_text())
    assert data["problem"]["setting"] == "nash" and data["problem"]["scale"] == 0.1 and data["steps"] == 40
    assert [method["spec"] for method in data["methods"]] == ["sum", "cagrad[c=0.5]"]
    assert data["methods"][1]["parameters"]["c"] == 0.5 and len(data["methods"][0]["trajectories"]) == 5
    assert data["versions"]["numpy"] == np.__version__
    assert (tmp_path / "toy" / "toy.png").read_bytes().startswith(b"\x89PNG")
    assert "</svg>" in (tmp_path / "toy" / "toy.svg").read_text()


def test_the_command_names_the_method_that_raised(raising: Path) -> None:
    done = command_line("toy", "--methods", "sum,third,four", "--plugin", str(raising), "--steps", "5", "--jobs", "1")
    assert done.returncode == 1
    assert "third raised in step 3 from -8.5, -5.0: ArithmeticError: no weights" in done.stdout
    assert "skipped four: it needs at least 4 tasks, and here are 2" in done.stdout
    assert sum(line.endswith(" raised") for line in done.stdout.splitlines()) == 1


def test_every_method_that_can_run_runs_by_default(tmp_path: Path) -> None:
    done = command_line("toy", "--steps", "2", "--jobs", "1")
    assert done.returncode == 0, done.stdout
    data = json.loads((tmp_path / "toy" / "toy.json").read_text())
    named = {method["spec"] for method in data["methods"]} | {skipped["spec"] for skipped in data["skipped"]}
    assert set(load_registry().methods) <= named
    assert data["methods"][0]["spec"] == "sum"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--setting", "nsh"], "unknown setting 'nsh'; did you mean nash?"),
        (["--steps", "0"], "steps must be at least 1, not 0"),
        (["--jobs", "0"], "jobs must be at least 1, not 0"),
        (["--lr", "-1"], "lr must be a positive number, not -1.0"),
        (["--methods", "pcgrd"], "unknown method 'pcgrd'; did you mean pcgrad"),
        (["--methods", "stl"], "give at least one method that can run here, such as --methods sum,pcgrad; stl cannot"),
        (["--methods", ","], "give at least one method that can run here"),
        (["--output", "file/toy"], "cannot write file/toy: Not a directory"),
        (["--plugin", "nowhere.py"], "plugin file nowhere.py does not exist"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments: list[str], expected: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = command_line("toy", *arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith(f"mtlbench: {expected}") and done.stderr.count("\n") == 1
