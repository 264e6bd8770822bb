"""SLURM jobs without SLURM: submitit's local executor runs the same jobs as processes. See also test_cluster.py."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from grids import Grid, bits

from mtlbench.errors import UsageError
from mtlbench.execute.executor import CellJob, Event
from mtlbench.plan.cells import Workload
from mtlbench.records.leases import Lease, holders
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
    assert not list((home / ".mtlbench" / "slurm").iterdir())
    assert not list((tmp_path / "results").rglob("*.pkl"))


@pytest.mark.slow
def test_a_cell_without_time_left_is_queued_again_from_its_checkpoint(
    make_workload: Callable[..., Workload], tmp_path: Path
) -> None:
    workload = make_workload(steps=400)
    grid = Grid(workload, ["sum"], [0])
    executor = slurm(workload)
    wait, preempted = executor.wait, False

    def preempting(seconds: float) -> Any:
        nonlocal preempted
        workers = {one.pid for one in holders(tmp_path / "results")} - {os.getpid()}
        if not preempted and workers:
            preempted = True
            os.kill(workers.pop(), signal.SIGUSR2)  # what SLURM is asked to send before the time is up
        return wait(0.1)

    executor.wait = preempting
    events: list[Event] = []
    assert grid.loop(tmp_path / "results", executor, events.append).run(grid.cells)
    assert preempted and [event.kind for event in events if event.kind != "note"] == ["again", "done"]
    assert "its 10 minutes were up, see --slurm-time: its process was asked to end" in events[0].message
    assert Store(tmp_path / "results").scan().records[0]["tries"] == 2


@pytest.mark.parametrize(("restarts", "tries"), [(None, 1), ("2", 3)])
def test_a_job_that_slurm_queues_again_is_another_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restarts: str | None, tries: int
) -> None:
    from mtlbench.execute import slurm_job

    if restarts is not None:
        monkeypatch.setenv("SLURM_RESTART_COUNT", restarts)
    monkeypatch.setattr(slurm_job, "run_remote", lambda job: job.record["tries"])
    job: Any = CellJob(None, {"tries": 1}, Store(tmp_path), Lease(tmp_path / "x", "y"))  # type: ignore[arg-type]
    assert slurm_job.Work(job)() == tries


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
            executor._running[0].handle._process.send_signal(signal.SIGKILL)
        return wait(0.1)

    executor.wait = killing
    assert grid.loop(tmp_path / "results", executor, heard).run(grid.cells)
    assert [event.kind for event in events] == ["again", "done"]
    assert "ended as INTERRUPTED" in events[0].message


def test_without_slurm_a_line_says_so(
    mtlbench: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = mtlbench("run", "--executor", "slurm", "--results", str(tmp_path / "results"))
    assert done.returncode == 2 and "there is no SLURM here: srun is not in PATH" in done.stderr
    assert "Traceback" not in done.stderr


class Handle:
    """What submitit knows of a job: its state, and what it left behind."""

    job_id = "7"

    def __init__(self, folder: Path, state: str, word: Event | Exception | None = None, log: str = "") -> None:
        self.state, self._word, self._log = state, word, log
        self.paths: Any = SimpleNamespace(folder=folder, result_pickle=folder / "result")
        if word is not None:
            self.paths.result_pickle.touch()

    def result(self) -> Event:
        if isinstance(self._word, Exception):
            raise self._word
        assert self._word is not None
        return self._word

    def stderr(self) -> str:
        return self._log


TOLD = "its process was asked to end, by SIGTERM, after step 3"


@pytest.mark.parametrize(
    ("state", "word", "log", "message", "retries"),
    [
        ("CANCELLED", TOLD, "", f"SLURM job 7 ended as CANCELLED: {TOLD}", 0),
        ("PREEMPTED", TOLD, "", f"SLURM job 7 ended as PREEMPTED: {TOLD}", 2),
        ("COMPLETED", TOLD, "", TOLD, 2),
        ("COMPLETED", TOLD.replace("TERM", "USR2"), "", "its 9 minutes were up, see --slurm-time: ", 2),
        ("TIMEOUT", None, "", "SLURM job 7 ended as TIMEOUT: its 9 minutes were up, see --slurm-time", 0),
        ("NODE_FAIL", None, "", "SLURM job 7 ended as NODE_FAIL", 2),
        ("OUT_OF_MEMORY", None, "killed\n", "SLURM job 7 ended as OUT_OF_MEMORY: killed", 0),
        ("GONE", None, "", "SLURM job 7 ended as GONE", 2),
        ("FAILED", None, "x\nsrun: exit 127\n\n", "SLURM job 7 ended as FAILED: srun: exit 127", 2),
    ],
)
def test_slurm_says_what_became_of_a_job_without_an_end(
    tmp_path: Path,
    make_workload: Callable[..., Workload],
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    word: str | None,
    log: str,
    message: str,
    retries: int,
) -> None:
    from mtlbench.execute import slurm_job

    monkeypatch.setattr(slurm_job, "LAG", 0.0)
    cell = Grid(make_workload(), ["sum"], [0]).cells[0]
    said = None if word is None else Event("lost", cell, message=word, retries=2)
    job = CellJob(cell, {"tries": 1}, Store(tmp_path), Lease(tmp_path / "x", "y"))
    end = slurm_job.SlurmTask(job, Handle(tmp_path, state, said, log), minutes=9).end()
    assert end is not None and end.kind == "lost" and end.retries == retries
    assert end.message.startswith(message)


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "COMPLETING", "SUSPENDED", "REQUEUE_HOLD", "UNKNOWN"])
def test_a_job_that_may_come_back_has_not_ended(
    tmp_path: Path, make_workload: Callable[..., Workload], state: str
) -> None:
    from mtlbench.execute.slurm_job import SlurmTask

    cell = Grid(make_workload(), ["sum"], [0]).cells[0]
    job = CellJob(cell, {"tries": 1}, Store(tmp_path), Lease(tmp_path / "x", "y"))
    said = Event("lost", cell, message=TOLD, retries=2)
    assert SlurmTask(job, Handle(tmp_path, state, said), minutes=9).end() is None
    assert SlurmTask(job, Handle(tmp_path, state, Event("done", cell)), minutes=9).end() == Event("done", cell)


def test_a_job_that_could_not_begin_gives_the_last_line_of_its_trace(
    tmp_path: Path, make_workload: Callable[..., Workload]
) -> None:
    import submitit

    from mtlbench.execute.slurm_job import SlurmTask

    cell = Grid(make_workload(), ["sum"], [0]).cells[0]
    trace = (
        "failed with trace:\n-----\nTraceback\n  File\nModuleNotFoundError: No module named 'x'\n\n-----\nYou can check"
    )
    error = submitit.core.utils.FailedJobError(f"{trace} full logs with 'job.stderr(0)'")
    job = CellJob(cell, {"tries": 1}, Store(tmp_path), Lease(tmp_path / "x", "y"))
    end = SlurmTask(job, Handle(tmp_path, "FAILED", error), minutes=9).end()
    assert end is not None and end.message == "SLURM job 7 ended as FAILED: ModuleNotFoundError: No module named 'x'"


@pytest.mark.parametrize("limit", [1, 3])
def test_what_is_more_than_slurm_takes_is_queued_in_parts(
    tmp_path: Path, make_workload: Callable[..., Workload], monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """The limit is on this run's jobs in the queue, as an administrator sets it."""
    from mtlbench.execute import slurm as module

    workload = make_workload()
    cells = Grid(workload, ["sum"], range(5)).cells
    jobs = [CellJob(cell, {"tries": 1}, Store(tmp_path), Lease(tmp_path / "x", "y")) for cell in cells]
    executor = slurm(workload)

    def submitted(taken: list[CellJob]) -> list[Any]:
        if len(executor._running) + len(taken) > limit:
            raise module.Refused("SLURM refuses a cell's job: too many")
        return [
            SimpleNamespace(job=job, handle=SimpleNamespace(job_id="7"), news=lambda _: [], end=lambda: None)
            for job in taken
        ]

    monkeypatch.setattr(executor, "_submit_array", submitted)
    executor.submit(jobs)
    assert [task.job for task in executor._running] == jobs[:limit]
    assert [event.message for event in executor.wait(0.0)] == [
        "SLURM refuses a cell's job: too many; asked again until it does"
    ]
    assert not executor.wait(0.0)  # told once
    executor._running[0].end = lambda: Event("done", cells[0])
    assert [event.kind for event in executor.wait(0.0)] == ["done"]
    assert [task.job for task in executor._running] == jobs[1 : limit + 1]


def test_the_first_refusal_ends_the_run(
    tmp_path: Path, make_workload: Callable[..., Workload], monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    from mtlbench.execute import slurm as module

    workload = make_workload()
    executor = slurm(workload)

    def refused(taken: list[CellJob]) -> list[Any]:
        raise module.Refused("SLURM refuses a cell's job: Invalid account")

    monkeypatch.setattr(executor, "_submit_array", refused)
    with pytest.raises(UsageError, match="Invalid account"):
        executor.submit([CellJob(cell, {}, Store(tmp_path), None) for cell in Grid(workload, ["sum"], [0, 1]).cells])  # type: ignore[arg-type]
    executor.stop(0.0)
    assert not list((home / ".mtlbench" / "slurm").iterdir())


def test_the_queue_tells_states_and_keeps_them_while_slurm_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    from mtlbench.execute import squeue

    running = "7_0|RUNNING|None\n"
    answers: Any = iter([f"{running}7_1|PENDING|Nodes|x, y\n", squeue.Silent("no controller"), running])

    def told(*command: str) -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    monkeypatch.setattr(squeue, "_output", told)
    queue = squeue.Squeue("mtlbench-x")
    queue.register_job("7_1")
    waits = ("PENDING", "Nodes|x, y")
    for trouble, state in (("", waits), ("no controller", waits), ("", ("GONE", ""))):
        queue.update()
        assert queue.trouble == trouble and queue.last("7_1") == state


def test_what_runs_on_a_machine_without_the_results_folder_says_so(
    tmp_path: Path, make_workload: Callable[..., Workload]
) -> None:
    from mtlbench.execute.remote import run_remote

    cell = Grid(make_workload(), ["sum"], [0]).cells[0]
    end = run_remote(CellJob(cell, {"tries": 1}, Store(tmp_path / "away"), Lease(tmp_path / "x", "y")))
    assert end.kind == "lost" and end.retries == 0 and "give --results a shared one" in end.message


def test_a_job_queued_again_after_its_cell_has_ended_leaves_its_record(
    tmp_path: Path, make_workload: Callable[..., Workload]
) -> None:
    from mtlbench.execute.remote import run_remote

    cell = Grid(make_workload(), ["sum"], [0]).cells[0]
    end = run_remote(CellJob(cell, {"tries": 1}, Store(tmp_path), Lease(tmp_path / "gone", "y")))
    assert end.kind == "taken" and not list(tmp_path.rglob("*.json"))
