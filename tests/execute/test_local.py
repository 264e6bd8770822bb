"""Launchers as people run them, in processes of their own: several on one folder, stopped and killed ones."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from launches import Launch, Launcher

from mtlbench.records.leases import holders
from mtlbench.records.store import Store

Start = Callable[..., Launch]

PLUGIN = '''
import os, time
from dataclasses import dataclass
from pathlib import Path
import numpy as np
from mtlbench import Method, Observation

@dataclass
class Noted(Method):
    """Notes who runs it, and takes a while."""
    name = "noted"
    def weights(self, seen: Observation):
        if not hasattr(self, "begun"):
            self.begun = True
            with Path(os.environ["NOTES"]).open("a") as notes:
                notes.write(f"{os.getppid()}\\n")
        time.sleep(float(os.environ.get("SLEEP", "0.1")))
        return np.ones(seen.tasks)

@dataclass
class Once(Method):
    """Crashes the first process that runs it."""
    name = "once"
    def weights(self, seen: Observation):
        notes = Path(os.environ["NOTES"])
        if not notes.exists():
            notes.write_text("crashed")
            os.abort()
        return np.ones(seen.tasks)
'''


@pytest.fixture
def start(launch: Launcher, tmp_path: Path, data_dir: Path, suite_file: Path) -> Start:
    """Start ``mtlbench run`` on the results folder of this test."""
    plugin = tmp_path / "noted.py"
    plugin.write_text(PLUGIN)
    given = ["--suite", suite_file, "--data-dir", data_dir, "--plugin", plugin, "--results", tmp_path / "results"]

    def call(*more: str, sleep: float = 0.1) -> Launch:
        environment = {**os.environ, "NOTES": str(tmp_path / "notes"), "SLEEP": str(sleep)}
        return launch("run", *given, *more, env=environment)

    return call


def until_it_trains(tmp_path: Path) -> None:
    deadline = time.monotonic() + 120.0
    while not (tmp_path / "notes").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_two_runs_on_one_folder_share_its_cells(start: Start, tmp_path: Path) -> None:
    arguments = ("--methods", "noted", "--seeds", "6", "--jobs", "1")
    both = [start(*arguments), start(*arguments)]
    told = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert len((tmp_path / "notes").read_text().split()) == 6  # each cell once
    assert all("6 done, 0 failed" in text for text in told)
    assert len(Store(tmp_path / "results").scan().records) == 6 and holders(tmp_path / "results") == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_launcher_stops_all_within_seconds(start: Start, tmp_path: Path, number: int) -> None:
    process = start("--methods", "noted", "--seeds", "1", "--steps", "100000")
    until_it_trains(tmp_path)
    begun = time.monotonic()
    os.kill(process.pid, number)
    told = process.communicate(timeout=60)
    assert time.monotonic() - begun < 20.0  # ten of grace
    assert process.returncode == 130
    assert "stopping: 1 cells" in told and "finished cells are kept" in told and "Traceback" not in told
    assert holders(tmp_path / "results") == [] and not Store(tmp_path / "results").scan().records


def test_after_kill_9_of_the_launcher_its_worker_leaves_and_the_next_run_goes_on(start: Start, tmp_path: Path) -> None:
    arguments = ("--methods", "noted", "--seeds", "1", "--steps", "40")
    process = start(*arguments, sleep=0.5)
    until_it_trains(tmp_path)
    (holder,) = holders(tmp_path / "results")
    assert holder.pid != process.pid and holder.cell == "noted seed 0"
    process.kill()
    assert process.wait() == -signal.SIGKILL
    deadline = time.monotonic() + 30.0
    while not holders(tmp_path / "results")[0].gone:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    again = start(*arguments, sleep=0.0)
    told = again.communicate(timeout=120)
    assert again.returncode == 0 and "1 done, 0 failed" in told  # at once: no lease outlives its process here


def test_a_crashed_process_is_tried_again(start: Start, tmp_path: Path) -> None:
    process = start("--methods", "once", "--seeds", "1")
    told = process.communicate()
    assert process.returncode == 0, told
    assert "again once seed 0: its process ended with signal SIGABRT; try 2" in told
    assert Store(tmp_path / "results").scan().records[0]["tries"] == 2
