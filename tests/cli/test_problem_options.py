"""``--problem`` of every verb that trains, ``list``, ``info`` and ``new-problem``."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest
from command_line import command_line

from mtlbench.errors import UsageError
from mtlbench.plugins.scaffold import write_problem

SMALL = "digits[overlap=5,rows=64,dev_rows=20,width=20]"


def test_run_names_problem_and_tasks(tmp_path: Path) -> None:
    planned = command_line(
        *("run", "--problem", SMALL, "--tasks", "parity,sum", "--methods", "sum", "--seeds", "1"),
        *("--dry-run", "--results", tmp_path),
    )
    assert planned.returncode == 0
    assert "suite digits: 1 cells" in planned.stderr and f"problem {SMALL}" in planned.stderr
    assert "task parity" in planned.stderr and "task left" not in planned.stderr


def test_tune_names_a_problem(tmp_path: Path) -> None:
    planned = command_line(
        "tune", "--problem", SMALL, "--methods", "sum", "--trials", "2", "--dry-run", "--results", tmp_path
    )
    assert planned.returncode == 0 and "trial 1" in planned.stdout


def test_overfit_names_a_problem() -> None:
    tried = command_line("overfit", "--problem", SMALL, "--tasks", "parity", "--steps", "2", "--json")
    assert tried.returncode == 1 and json.loads(tried.stdout)["tasks"][0]["task"] == "parity"


def test_the_environment_and_a_file_name_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ("run", "--methods", "sum", "--seeds", "1", "--dry-run", "--results", tmp_path)
    (tmp_path / "config.toml").write_text(f'problem = "{SMALL}"')
    assert f"problem {SMALL}" in command_line(*options, "--config", tmp_path / "config.toml").stderr
    monkeypatch.setenv("MTLBENCH_PROBLEM", SMALL)
    assert f"problem {SMALL}" in command_line(*options).stderr


BROKEN = "from mtlbench import Problem\nimport torch\ntorch.nothing_of_this_name\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("run --problem digit", "unknown problem 'digit'; did you mean digits?"),
        ("overfit --problem sst5", "unknown problem 'sst5'"),
        ("tune --problem digits[overlap=9]", "problem digits: parameter overlap=9 should be less than 8"),
        ("bench --problem digits[overlaps=1]", "unknown parameter of problem digits: 'overlaps'; did you mean overlap"),
        ("run --problem columns", "problem columns needs file: write columns[file=...]"),
        ("run --problem digits --tasks lft", "unknown task of problem digits: 'lft'; did you mean left?"),
        ("run --problem digits --model minilm", "--model is for tasks on texts; problem digits brings its own model"),
        ("run --suite digits --model minilm", "brings its own model: leave model out"),
        ("run --problem digits --suite quick", "suite quick is for tasks on texts"),
        ("run --problem digits --suite quik", "unknown suite 'quik'; did you mean quick?"),
        ("run --problem digits --engine packed", "engine=packed is for tasks on texts"),
        ("run --problem mine --plugin broken.py", "plugin broken.py failed to import: AttributeError"),
        (
            "run --problem columns[file=a.csv,predict=a:number]",
            "data file a.csv does not exist; give its whole path, or its folder: --data-dir FOLDER",
        ),
        ("run --problem digits --data-dir nowhere", "data folder nowhere does not exist"),
        ("info digits --data-dir nowhere", "data folder nowhere does not exist"),
        ("study --output x --problem digits", "No such option: --problem"),
        ("toy --problem digits", "No such option: --problem"),
        ("info digit", "unknown name 'digit'; did you mean digits"),
        ("list problem", "unknown list: 'problem'; did you mean problems?"),
    ],
)
def test_bad_input_is_one_line(arguments: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.py").write_text(BROKEN)
    refused = command_line(*arguments.split())
    assert refused.returncode == 2 and message in refused.stderr and refused.stderr.count("\n") == 1, refused.stderr


def test_info_explains_a_problem() -> None:
    shown = command_line("info", SMALL).stdout
    for text in ("left: 10 classes", "64 train, 20 dev, 20 test", "8292 shared", "suite digits: ", "all can run"):
        assert text in shown
    assert "overlap  integer, >= 0, < 8  (default 6)" in shown
    entry = json.loads(command_line("info", SMALL, "--json").stdout)
    assert entry["kind"] == "problem" and entry["facts"]["heads"]["left"] == 210
    assert entry["facts"]["recipe"]["steps"] == 1500 and entry["facts"]["named"]["representation"] is True


def test_info_explains_a_problem_whose_data_is_not_there() -> None:
    shown = command_line("info", "columns").stdout
    assert "Not known:       the rest: problem columns needs file" in shown and "predict  string  (required)" in shown
    shown = command_line("info", "columns[file=gone.csv,predict=a:number/b:flag]").stdout
    assert "a: a number; r2" in shown and "the rest: data file gone.csv does not exist" in shown


def test_new_problem_works_as_written(tmp_path: Path) -> None:
    done = command_line("new-problem", "my-problem", tmp_path)
    assert done.returncode == 0 and "my_problem.py" in done.stdout
    tests = {
        name: test for name, test in runpy.run_path(str(tmp_path / "test_my_problem.py")).items() if "test" in name
    }
    assert list(tests) == ["test_rows", "test_certificate"]
    for test in tests.values():  # in this process, which has imported torch already
        test()
    listed = command_line("list", "problems", "--plugin", tmp_path / "my_problem.py").stdout
    assert "my-problem  Summarize the problem in one line" in listed
    shown = command_line("info", "my-problem", "--plugin", tmp_path / "my_problem.py").stdout
    assert "of its own: steps 200" in shown and "method krum" in shown and "gradnorm" not in shown


def test_new_problem_in_a_checkout(tmp_path: Path) -> None:
    for folder in ("mtlbench", "problems"):
        (tmp_path / folder).mkdir()
    (tmp_path / "problems" / "__init__.py").touch()
    problem, test = write_problem("mine", tmp_path)
    assert problem == tmp_path / "problems" / "mine.py" and test == tmp_path / "tests" / "problems" / "test_mine.py"
    assert "PLUGINS = ()" in test.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "message"), [("Mine", "problem name 'Mine' must be lower-case"), ("digits", "exists already")]
)
def test_new_problem_refuses_a_bad_name(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        write_problem(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_new_problem_never_overwrites(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="exists"):
        write_problem("mine", tmp_path)
    assert not (tmp_path / "mine.py").exists()
