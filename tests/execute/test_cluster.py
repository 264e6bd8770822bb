"""Cells on a real SLURM cluster, which the tests start for themselves where its packages are installed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from grids import Grid, bits
from slurm_cluster import NODES, Cluster, missing, running, wait_for

from mtlbench.execute.executor import Event
from mtlbench.plan.cells import Workload
from mtlbench.records.leases import holders
from mtlbench.records.store import Store

pytest.importorskip("submitit", reason="needs the extra 'slurm'")
pytestmark = [pytest.mark.cluster, pytest.mark.skipif(bool(missing()), reason=missing())]

LAZY = '''
import time
from dataclasses import dataclass
from pathlib import Path
import numpy as np
from mtlbench import Method, Observation

@dataclass
class Lazy(Method):
    """Takes its time as long as a file is there."""
    name = "lazy"
    def weights(self, seen: Observation):
        if Path({flag!r}).exists():
            time.sleep(0.3)
        return np.ones(seen.tasks)
'''


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", f"{folder}/slurm.conf")
        with running(Path(folder)) as started:
            yield started


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of the test's own, and an executor that looks at the queue more often than it should elsewhere."""
    from mtlbench.execute import squeue

    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(squeue, "EVERY", 2)
    return tmp_path / "home"


@pytest.fixture
def flag(tmp_path: Path) -> Path:
    """The file that makes cells of the method ``lazy`` take their time."""
    (tmp_path / "lazy").touch()
    (tmp_path / "lazy.py").write_text(LAZY.format(flag=str(tmp_path / "lazy")))
    return tmp_path / "lazy"


def slurm(workload: Workload, **options: Any) -> Any:
    from mtlbench.execute.slurm import Slurm

    return Slurm(workload.recipe, **{"jobs": None, "partition": None, "minutes": 10, **options})


def running_cells(folder: Path) -> dict[str, str]:
    """Return the titles of cells whose workers have begun."""
    return {one.cell: one.key for one in holders(folder) if one.pid != os.getpid()}


def test_cells_have_the_bits_of_local_ones_over_a_controllers_restart(
    cluster: Cluster, make_workload: Callable[..., Workload], tmp_path: Path, home: Path, local_bits: dict[str, Any]
) -> None:
    workload = make_workload()
    grid = Grid(workload, ["stl", "pcgrad"], [0, 1])  # more cells than an array of this cluster takes
    events: list[Event] = []

    def heard(event: Event) -> None:
        if event.kind == "started" and not any(other.kind == "started" for other in events):
            cluster.restart_controller()
        events.append(event)

    assert grid.loop(tmp_path / "results", slurm(workload), heard).run(grid.cells)
    assert [event.kind for event in events].count("done") == 4
    found = bits(tmp_path / "results")
    assert {name: found[name] for name in local_bits} == local_bits
    assert not cluster.queue() and not list((home / ".mtlbench" / "slurm").iterdir())


def test_what_befalls_a_job_befalls_its_cell_alone(
    cluster: Cluster, make_workload: Callable[..., Workload], tmp_path: Path, flag: Path
) -> None:
    workload = make_workload(steps=400, measure_every=400)
    grid = Grid(workload, ["lazy"], range(NODES), tmp_path / "lazy.py")
    requeued, cancelled, down, late = (cell.title for cell in grid.cells)
    executor = slurm(workload)
    wait, fates, hurried, events = executor.wait, dict[str, str](), set[str](), list[Event]()

    def job_of(title: str) -> list[str]:
        number = next(task.handle.job_id for task in executor._running if task.job.cell.title == title)
        return next(row for row in cluster.queue() if row[0] == number)

    def disturbing(seconds: float) -> Any:
        if not fates and len(running_cells(tmp_path / "results")) == NODES:
            fates.update({title: job_of(title)[0] for title in (requeued, cancelled, down, late)})
            cluster.ask("scontrol", "requeue", fates[requeued])
            cluster.ask("scancel", fates[cancelled])
            cluster.lose(node=job_of(down)[2])
            cluster.ask("scontrol", "update", f"jobid={fates[late]}", "timelimit=1")  # its signal is due at once
            for title in (requeued, down):  # SLURM lets them wait for two minutes
                wait_for(lambda title=title: job_of(title)[1] == "PENDING")
        for title in {event.cell.title for event in events if "put its job back" in event.message} - hurried:
            hurried.add(title)
            cluster.ask("scontrol", "update", f"jobid={fates[title]}", "starttime=now")
        if {event.cell.title for event in events if event.kind in ("again", "failed")} == {late, cancelled}:
            flag.unlink(missing_ok=True)
        return wait(min(seconds, 0.5))

    executor.wait = disturbing
    assert not grid.loop(tmp_path / "results", executor, events.append).run(grid.cells)
    assert not cluster.queue()
    records = {f"lazy seed {record['seed']}": record for record in Store(tmp_path / "results").scan().records}
    assert {title: record["status"] for title, record in records.items()} == {
        title: "failed" if title == cancelled else "done" for title in fates
    }
    assert records[cancelled]["error"]["message"].startswith(f"SLURM job {fates[cancelled]} ended as CANCELLED")
    assert {records[title]["tries"] for title in (requeued, down, late)} == {2}
    assert records[requeued]["resumed"] and records[late]["resumed"]  # they wrote a checkpoint before they left
    assert any("its 10 minutes were up" in event.message for event in events if event.cell.title == late)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--slurm-partition", "nowhere"], "SLURM refuses a cell's job: invalid partition specified: nowhere"),
        (["--slurm-time", "500"], "SLURM never starts these jobs (PartitionTimeLimit)"),
        (["--threads", "64"], "a cell takes 64 cores (threads × processes), and SLURM's largest node here has 1"),
        (["--home"], "cannot create the folder for SLURM's jobs"),
    ],
)
def test_what_slurm_does_not_run_is_said_before_the_first_cell(
    cluster: Cluster, mtlbench: Any, tmp_path: Path, home: Path, options: list[str], why: str
) -> None:
    if options == ["--home"]:
        home.write_text("no folder")
        options = []
    done = mtlbench("run", "--executor", "slurm", "--results", str(tmp_path / "results"), *options)
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"mtlbench: {why}")
    assert "Traceback" not in done.stderr and "submitit" not in done.stderr and "sacct" not in done.stderr
    assert not cluster.queue() and not holders(tmp_path / "results")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_launcher_that_is_stopped_leaves_nothing_in_the_queue(
    cluster: Cluster, suite_file: Path, data_dir: Path, tmp_path: Path, home: Path, flag: Path, number: int
) -> None:
    cells = NODES + 1  # one waits for a node
    command = [sys.executable, "-m", "mtlbench", "run", "--suite", str(suite_file), "--data-dir", str(data_dir)]
    command += ["--executor", "slurm", "--results", str(tmp_path / "results"), "--plugin", str(tmp_path / "lazy.py")]
    command += ["--methods", "lazy", "--seeds", str(cells), "--steps", "400"]
    launcher = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, preexec_fn=lambda: signal.signal(number, signal.default_int_handler)
    )
    wait_for(lambda: len(cluster.queue()) == cells and len(running_cells(tmp_path / "results")) >= NODES)
    launcher.send_signal(number)
    told = launcher.communicate(timeout=60.0)[1]
    assert launcher.returncode == 130 and told.endswith(
        "mtlbench: stopped; finished cells are kept, the same command goes on\n"
    )
    assert "Traceback" not in told and "submitit" not in told
    assert not cluster.queue() and not holders(tmp_path / "results")
    assert not list((home / ".mtlbench" / "slurm").iterdir())
