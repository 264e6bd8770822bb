"""Status, merge, clean, export and the comparison of two folders, on records of a problem."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from command_line import command_line
from problem_runs import APART, train, workload_of

from mtlbench.records.store import Store


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    train(folder, workload_of(steps=6))
    train(folder, workload_of(APART, "apart", steps=6), ["sum"], [0])
    return folder


def test_status(results: Path) -> None:
    done = command_line("status", "--results", results)
    assert done.returncode == 0 and "7 done, 0 failed, 0 running, 0 damaged" in done.stdout
    assert "tiny-problem" in done.stdout and "apart" in done.stdout


def test_merge_and_clean(results: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    shutil.copytree(results, half)
    done = command_line("merge", results, half, "--into", tmp_path / "all")
    assert done.returncode == 0, done.stderr
    assert len(Store(tmp_path / "all").scan().records) == 7
    done = command_line("clean", "--results", tmp_path / "all")
    assert done.returncode == 0 and "0 leftovers" in done.stdout + done.stderr


def test_histories_are_exported(results: Path, tmp_path: Path) -> None:
    assert command_line("export", tmp_path, "--results", results).returncode == 0
    table = pd.read_csv(tmp_path / "history.csv")
    rows = table[(table.suite == "tiny-problem") & (table.method == "pcgrad") & (table.seed == 0)]
    assert set(rows.task.dropna()) >= {"side", "sum", "signs", "place"} and "loss" in set(rows.what)
    assert sorted(rows[(rows.what == "loss") & (rows.task == "place")].step) == list(range(1, 7))


def test_two_folders_are_compared(results: Path, tmp_path: Path) -> None:
    train(tmp_path, workload_of(steps=6))
    done = command_line("report", "--compare", results, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "encoder" not in done.stdout.lower() and "Traceback" not in done.stderr
