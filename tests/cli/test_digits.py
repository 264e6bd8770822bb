"""Numbers are plain digits, wherever a user writes one."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtlbench.cli.digits import check_number, check_numbers, number_options
from mtlbench.cli.grids import run
from mtlbench.cli.tune import tune
from mtlbench.contract.numerals import number
from mtlbench.errors import UsageError
from mtlbench.recipe.suite import load_suite


@given(st.floats(allow_nan=False) | st.integers(-(10**20), 10**20))
def test_plain_numbers_are_read(value: float) -> None:
    assert number(f" {value}\n") == float(value)


@pytest.mark.parametrize("text", ["1_0", "１", "٣.5", "1e1_0", "0x1", "", "1,5", "²", "½", "1 0", "--1"])
def test_other_numbers_are_not(text: str) -> None:
    with pytest.raises(ValueError, match=r"could not convert|plain digits"):
        number(text)


def test_the_numbers_of_a_command_are_known() -> None:
    options = number_options(run)
    assert options["steps"] == "MTLBENCH_STEPS" and options["checkpoint_every"] == "MTLBENCH_CHECKPOINT_EVERY"
    assert not options.keys() & {"suite", "results", "methods", "seeds", "tasks", "plugin", "dry_run"}
    assert {"trials", "tuning_seed"} <= number_options(tune).keys()


@pytest.mark.parametrize(
    "arguments",
    ["run --steps 1_0", "run --lr=1_0e-5", "run --seeds 1_0", "tune --trials ５", "bench --steps 1_0", "toy --lr ０.1"],
)
def test_a_number_of_the_command_line_that_is_not_plain_is_one_line(
    mtlbench: Callable[..., subprocess.CompletedProcess[str]],
    arguments: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = mtlbench(*arguments.split())
    assert shown.returncode == 2 and shown.stderr.count("\n") == 1
    assert "plain digits" in shown.stderr or "seeds must be" in shown.stderr


def test_names_with_digits_are_names() -> None:
    check_numbers(["run", "--results", "2024_11", "--suite", "1_0", "--steps", "10", "--tasks", "a_１"], {})
    check_numbers(["report", "--baseline", "1_0"], {"MTLBENCH_STEPS": "1_0"})
    check_numbers([], {"MTLBENCH_STEPS": "1_0"})
    check_number("steps", 10, 1.5, None, ["1_0"])


def test_the_environment_and_config_files(
    mtlbench: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="MTLBENCH_LR 1_0: write a number in plain digits"):
        check_numbers(["run"], {"MTLBENCH_LR": "1_0"})
    check_numbers(["run", "--lr", "10"], {"MTLBENCH_LR": "1_0"})
    for option in ('steps = "1_0"', 'batch-size = "１"'):
        (tmp_path / "c.toml").write_text(option)
        shown = mtlbench("run", "--config", str(tmp_path / "c.toml"), "--dry-run")
        assert shown.returncode == 2 and "config c.toml: " in shown.stderr


def test_suite_files(suite_file: Path, tmp_path: Path) -> None:
    for line in ('lr = "1_0"', 'test_rows = "1_0"', 'weight_decay = "0_1"'):
        file = tmp_path / "bad.toml"
        key = line.partition(" ")[0]
        lines = [old for old in suite_file.read_text().splitlines() if not old.startswith(key)]
        file.write_text("\n".join([*lines, line]))
        with pytest.raises(UsageError, match=r"should be a number in plain digits"):
            load_suite(str(file))
