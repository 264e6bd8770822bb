"""SLURM jobs through submitit. There is no SLURM here: submitit's local executor runs the same jobs as processes."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from grids import Grid, bits

from mtlbench.execute.executor import Event
from mtlbench.plan.cells import Workload
from mtlbench.records.leases import holders
from mtlbench.records.store import Store

pytest.importorskip("submitit", reason="needs the extra 'slurm'")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep submitit's folder out of the user's home."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def slurm(workload: Workload) -> Any:
    from mtlbench.execute.slurm import Slurm

    return Slurm(workload.recipe, jobs=2, partition=None, minutes=10, cluster="local")


@pytest.mark.slow
def test_slurms_cells_have_the_bits_of_local_ones(
    make_workload: Callable[..., Workload], tmp_path: Path, home: Path, local_bits: dict[str, Any]
) -> None:
    workload = make_workload()
    grid = Grid(workload, ["stl", "pcgrad"], [0])
    events: list[Event] = []
    assert grid.loop(tmp_path / "results", slurm(workload), events.append).run(grid.cells)
    assert [event.kind for event in events] == ["done", "done"]
    assert bits(tmp_path / "results") == local_bits
    record = Store(tmp_path / "results").scan().records[0]
    assert record["tries"] == 1 and record["environment"]["machine"]["cores"] >= 1  # told by the job itself
    assert (home / ".mtlbench" / "slurm").stat().st_mode & 0o077 == 0
    assert not list((tmp_path / "results").rglob("*.pkl"))


@pytest.mark.slow
def test_a_preempted_cell_is_queued_again_and_counted(make_workload: Callable[..., Workload], tmp_path: Path) -> None:
    workload = make_workload(steps=400)
    grid = Grid(workload, ["sum"], [0])
    executor = slurm(workload)
    wait, preempted = executor.wait, False

    def preempting(seconds: float) -> Any:
        nonlocal preempted
        workers = {one.pid for one in holders(tmp_path / "results")} - {os.getpid()}
        if not preempted and workers:
            preempted = True
            os.kill(workers.pop(), signal.SIGUSR2)  # what SLURM is asked to send before it takes a machine away
        return wait(0.1)

    executor.wait = preempting
    events: list[Event] = []
    assert grid.loop(tmp_path / "results", executor, events.append).run(grid.cells)
    assert preempted and [event.kind for event in events] == ["done"]  # SLURM's matter alone
    assert Store(tmp_path / "results").scan().records[0]["tries"] == 2


def test_the_tries_of_a_preempted_cell_have_an_end(make_workload: Callable[..., Workload], tmp_path: Path) -> None:
    from mtlbench.execute.executor import Job
    from mtlbench.execute.slurm import Work
    from mtlbench.records.leases import Lease

    cell = Grid(make_workload(), ["sum"], [0]).cells[0]
    work: Any = Work(Job(cell, {"tries": 1}, Store(tmp_path), Lease(tmp_path / "x", "y")))
    for tries in (2, 3):
        work = work.checkpoint().function
        assert work.job.record["tries"] == tries
    assert work.checkpoint() is None


@pytest.mark.slow
def test_a_killed_job_is_lost_and_tried_again(make_workload: Callable[..., Workload], tmp_path: Path) -> None:
    workload = make_workload(steps=200)
    grid = Grid(workload, ["sum"], [0])
    executor = slurm(workload)
    events: list[Event] = []

    def heard(event: Event) -> None:
        events.append(event)

    wait, killed = executor.wait, False

    def killing(seconds: float) -> Any:
        nonlocal killed
        if executor._running and not killed:
            killed = True
            executor._running[0][0]._process.send_signal(signal.SIGKILL)
        return wait(0.1)

    executor.wait = killing
    assert grid.loop(tmp_path / "results", executor, heard).run(grid.cells)
    assert [event.kind for event in events] == ["again", "done"]
    assert "ended as INTERRUPTED" in events[0].message


def test_without_slurm_a_line_says_so(
    mtlbench: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = mtlbench("run", "--executor", "slurm", "--results", str(tmp_path / "results"))
    assert done.returncode == 2 and "there is no SLURM here: srun is not in PATH" in done.stderr
    assert "Traceback" not in done.stderr
