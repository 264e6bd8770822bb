"""``mtlbench run`` from the command line to records and report, on a tiny but real BERT."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import tiny_run
from launches import Launcher

from mtlbench.records.record_file import read_history
from mtlbench.records.store import Store

Call = Callable[..., subprocess.CompletedProcess[str]]

FAULTY = '''
import os
from dataclasses import dataclass
import numpy as np
from mtlbench import Method, Observation

@dataclass
class Killed(Method):
    """Kills its own process."""
    name = "killed"
    def weights(self, observation: Observation):
        os.kill(os.getpid(), 9)

@dataclass
class Raises(Method):
    """Raises."""
    name = "raises"
    def weights(self, observation: Observation):
        raise RuntimeError("no weights today")

@dataclass
class Explodes(Method):
    """Returns weights that are not numbers."""
    name = "explodes"
    def weights(self, observation: Observation):
        return np.full(observation.tasks, np.nan)
'''


def contents(folder: Path) -> dict[str, Any]:
    """Return what must be bit-identical between runs: scores and untimed histories, by file."""
    by_file = {}
    for record in Store(folder).scan().records:
        rows = [{k: v for k, v in row.items() if k not in ("seconds", "elapsed")} for row in read_history(record)]
        by_file[Path(record["path"]).name] = (record["scores"], rows, record["files"]["predictions"]["sha256"])
    return by_file


@pytest.fixture(scope="module")
def grid(mtlbench: Call, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("results")
    done = mtlbench("run", "--methods", "stl,sum,pcgrad", "--seeds", "2", "--jobs", "1", "--results", str(folder))
    return folder, done


def test_a_grid_runs_and_says_what_it_ran_on(grid: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = grid
    assert done.returncode == 0, done.stderr
    assert "6 cells, 0 done, 6 to run" in done.stderr
    assert ", first 1 layers, SHA-256" in done.stderr
    assert "6 done, 0 failed" in done.stderr
    assert len(Store(folder).scan().records) == 6


def test_the_second_time_nothing_is_left_to_do(grid: tuple[Path, Any], mtlbench: Call) -> None:
    again = mtlbench("run", "--methods", "stl,sum,pcgrad", "--seeds", "2", "--results", str(grid[0]))
    assert again.returncode == 0
    assert "6 done, 0 to run" in again.stderr and "nothing to do" in again.stderr


def test_force_runs_done_cells_again_with_the_same_result(mtlbench: Call, tmp_path: Path) -> None:
    arguments = ("run", "--methods", "sum", "--seeds", "1", "--results", str(tmp_path))
    mtlbench(*arguments)
    before, first = contents(tmp_path), Store(tmp_path).scan().records[0]["started"]
    assert "1 done, 0 failed" in mtlbench(*arguments, "--force").stderr
    assert contents(tmp_path) == before
    assert Store(tmp_path).scan().records[0]["started"] > first
    assert len(list(tmp_path.glob("*/sum/*"))) == 3  # record, history, predictions: the old ones are gone


def test_two_jobs_give_the_bits_of_one(grid: tuple[Path, Any], mtlbench: Call, tmp_path: Path) -> None:
    mtlbench("run", "--methods", "stl,sum,pcgrad", "--seeds", "2", "--jobs", "2", "--results", str(tmp_path))
    assert contents(tmp_path) == contents(grid[0])


def test_the_report_is_made_from_the_records_alone(grid: tuple[Path, Any], mtlbench: Call) -> None:
    done = mtlbench("report", "--results", str(grid[0]), "--format", "json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert {(row["method"], row["task"]) for row in report["summary"]} >= {("pcgrad", "mood"), ("stl", "like")}
    comparison = next(row for row in report["comparisons"] if row["method"] == "pcgrad")
    assert comparison["baseline"] == "sum" and comparison["n"] == 2 and comparison["paired"] is True
    assert comparison["exact_floor"] == 0.5
    for kind in ("text", "markdown", "csv", "latex", "html"):
        assert "pcgrad" in mtlbench("report", "--results", str(grid[0]), "--format", kind).stdout


def test_a_dry_run_trains_nothing(mtlbench: Call, tmp_path: Path) -> None:
    done = mtlbench(
        "run", "--methods", "cagrad[c=0.2/0.4]", "--seeds", "7,", "--dry-run", "--results", str(tmp_path / "x")
    )
    assert done.returncode == 0
    assert "cagrad[c=0.2] seed 7: to run" in done.stderr and "cagrad seed 7: to run" in done.stderr
    assert not (tmp_path / "x").exists()


def test_a_cell_that_fails_costs_no_other(mtlbench: Call, tmp_path: Path) -> None:
    plugin = tmp_path / "faulty.py"
    plugin.write_text(FAULTY)
    arguments = ("--plugin", str(plugin), "--methods", "killed,raises,explodes,sum", "--seeds", "1")
    done = mtlbench("run", *arguments, "--results", str(tmp_path / "out"))
    assert done.returncode == 1
    assert "1 done, 3 failed" in done.stderr
    errors = {record["method"]["name"]: record["error"] for record in Store(tmp_path / "out").scan().records}
    assert errors["sum"] is None
    assert "SIGKILL" in errors["killed"]["message"]
    assert errors["raises"]["message"] == "step 1: method raises: weights() raised RuntimeError: no weights today"
    assert errors["explodes"]["message"] == (
        "step 1: method explodes returned weights [nan, nan, nan], not 3 finite numbers"
    )
    shown = mtlbench("report", "--results", str(tmp_path / "out")).stdout
    assert "raises" in shown and "no weights today" in " ".join(shown.split())
    again = mtlbench("run", *arguments, "--results", str(tmp_path / "out"), "--dry-run")
    assert "raises seed 0: failed, run again" in again.stderr and "sum seed 0: done" in again.stderr


def test_fail_fast_starts_no_more_cells(mtlbench: Call, tmp_path: Path) -> None:
    plugin = tmp_path / "faulty.py"
    plugin.write_text(FAULTY)
    done = mtlbench(
        "run",
        "--plugin",
        str(plugin),
        "--methods",
        "raises,sum",
        "--seeds",
        "3",
        "--jobs",
        "1",
        "--fail-fast",
        "--results",
        str(tmp_path / "out"),
    )
    assert done.returncode == 1 and "0 done, 1 failed, 5 not started" in done.stderr


def test_kill_9_loses_no_finished_cell_and_leaves_no_half_record(
    mtlbench: Call, launch: Launcher, tmp_path: Path, data_dir: Path, suite_file: Path, grid: tuple[Path, Any]
) -> None:
    arguments = ["--methods", "stl,sum,pcgrad", "--seeds", "2", "--jobs", "1", "--results", str(tmp_path)]
    process = launch("run", "--suite", suite_file, "--data-dir", data_dir, *arguments)
    deadline = time.monotonic() + 120.0
    while not list(tmp_path.glob("*/*/seed-*.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    interrupted = Store(tmp_path).scan()
    assert 1 <= len(interrupted.records) < 6 and not interrupted.damaged
    times = {record["key"]: record["started"] for record in interrupted.records}
    assert mtlbench("run", *arguments).returncode == 0
    resumed = Store(tmp_path).scan()
    assert len(resumed.records) == 6 and not resumed.damaged
    assert all(record["started"] == times.get(record["key"], record["started"]) for record in resumed.records)
    assert contents(tmp_path) == contents(grid[0])


def test_ctrl_c_stops_with_130_and_a_clear_line(tmp_path: Path, data_dir: Path, suite_file: Path) -> None:
    """With an interpreter of its own, as people start it; other tests that signal a run share one's start."""
    command = tiny_run(suite_file, data_dir, "--steps", "100000", "--seeds", "1", "--results", str(tmp_path))
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
    )
    assert process.stderr is not None
    while "task table[called=like" not in process.stderr.readline():
        pass
    time.sleep(3.0)
    os.killpg(process.pid, signal.SIGINT)
    try:
        _, errors = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # or it would train on beside whatever runs next
        raise
    assert process.returncode == 130
    assert "stopped; finished cells are kept" in errors and "Traceback" not in errors


def test_a_damaged_record_is_named_set_aside_and_run_again(mtlbench: Call, tmp_path: Path) -> None:
    arguments = ("run", "--methods", "sum", "--seeds", "2", "--results", str(tmp_path))
    assert mtlbench(*arguments).returncode == 0
    victim = next(tmp_path.glob("*/sum/seed-0-*.json"))
    victim.write_bytes(victim.read_bytes()[:100])
    report = mtlbench("report", "--results", str(tmp_path))
    assert report.returncode == 0 and victim.name in report.stdout.replace("\n", "")
    assert victim.name in mtlbench("status", "--results", str(tmp_path)).stdout
    again = mtlbench(*arguments)
    assert again.returncode == 0 and "set aside" in again.stderr and "1 done, 1 to run" in again.stderr
    assert victim.with_name(victim.name + ".damaged").exists()
    assert not Store(tmp_path).scan().damaged
