"""The scheduler with an executor that runs nothing: claims, retries, records, and cells of other launchers."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mtlbench.execute import scheduler as loop_module
from mtlbench.execute.executor import CellJob, Event
from mtlbench.execute.scheduler import Scheduler
from mtlbench.plan.cells import Cell, Workload, make_cells
from mtlbench.plugins.registry import load_registry
from mtlbench.records.header import header
from mtlbench.records.leases import SIZE, Leases
from mtlbench.records.record import Record
from mtlbench.records.store import Store


class Scripted:
    """An executor that ends every job as a script says: a function from the job to its last event."""

    def __init__(self, script: Callable[[CellJob], Event], capacity: int = 2) -> None:
        self.script, self.capacity = script, capacity
        self.queue: list[CellJob] = []
        self.tried: list[tuple[str, int]] = []
        self.stops: list[float] = []
        self.most = 0

    def submit(self, jobs: Sequence[CellJob]) -> None:
        self.queue += jobs
        self.most = max(self.most, len(self.queue))

    def wait(self, seconds: float) -> Sequence[Event]:
        if not self.queue:
            threading.Event().wait(min(seconds, 0.01))
            return []
        job = self.queue.pop(0)
        self.tried.append((job.cell.title, job.record["tries"]))
        return [Event("started", job.cell), self.script(job)]

    def stop(self, grace: float) -> None:
        self.stops.append(grace)


def done(job: CellJob) -> Event:
    job.store.save({**job.record, "status": "done"}, {})
    job.lease.release()
    return Event("done", job.cell)


def failed(job: CellJob) -> Event:
    error = {"type": "CellError", "message": "loss is nan", "step": 1, "task": None}
    job.store.save({**job.record, "error": error}, {})
    job.lease.release()
    return Event("failed", job.cell, message="loss is nan")


@pytest.fixture(scope="module")
def grid(make_workload: Callable[..., Workload]) -> tuple[list[Cell], Callable[[Cell], Record]]:
    workload, registry = make_workload(), load_registry()
    cells = make_cells(workload, [registry.method("sum"), registry.method("pcgrad")], [0, 1, 2])
    return cells, lambda cell: header(cell, workload, registry, {"versions": {}, "machine": {}})


class Launcher:
    """A loop on a folder, with all that it told."""

    def __init__(self, folder: Path, grid: Any, script: Callable[[CellJob], Event], **options: Any) -> None:
        self.cells, headers = grid
        self.store = Store(folder)
        self.store.prepare()
        self.executor = Scripted(script)
        self.events: list[Event] = []
        before = options.pop("before", self.store.state())
        self.loop = Scheduler(headers, self.store, self.executor, self.events.append, before=before, **options)

    def run(self) -> bool:
        return self.loop.run(self.cells)

    def told(self, kind: str) -> list[str]:
        return [event.cell.title for event in self.events if event.kind == kind]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "POLL", 0.01)


def test_all_cells_end_within_capacity_and_no_lease_is_left(tmp_path: Path, grid: Any) -> None:
    launcher = Launcher(tmp_path, grid, done)
    assert launcher.run()
    assert len(launcher.told("done")) == len(launcher.store.scan().records) == 6
    assert launcher.executor.most == 2
    assert list((tmp_path / ".leases").iterdir()) == []
    assert launcher.executor.stops  # and nothing of the executor is left either


def test_what_workers_kept_for_the_end_is_told_before_it(tmp_path: Path, grid: Any) -> None:
    launcher = Launcher(tmp_path, grid, lambda job: replace(done(job), notes=("goes on after step 2 of 4",)))
    assert launcher.run()
    assert [event.kind for event in launcher.events] == ["started", "note", "done"] * 6
    assert {event.message for event in launcher.events if event.kind == "note"} == {"goes on after step 2 of 4"}


@pytest.mark.parametrize(("retries", "tries"), [(0, 1), (1, 2), (2, 3)])
def test_a_lost_cell_is_tried_as_often_as_it_deserves(tmp_path: Path, grid: Any, retries: int, tries: int) -> None:
    def script(job: CellJob) -> Event:
        if job.cell.title != "sum seed 1":
            return done(job)
        return Event("lost", job.cell, message="its node went away", retries=retries)

    launcher = Launcher(tmp_path, grid, script)
    assert not launcher.run()
    assert [number for title, number in launcher.executor.tried if title == "sum seed 1"] == list(range(1, tries + 1))
    assert len(launcher.told("again")) == tries - 1
    records = {(r["method"]["name"], r["seed"]): r for r in launcher.store.scan().records}
    lost = records["sum", 1]
    assert lost["status"] == "failed" and lost["tries"] == tries
    assert lost["error"]["message"] == "its node went away" + (f", {tries} tries" if tries > 1 else "")
    assert list((tmp_path / ".leases").iterdir()) == []


@pytest.mark.parametrize("ended", [done, failed])
@pytest.mark.parametrize("retries", [0, 2])
def test_a_worker_killed_between_its_record_and_its_word_lost_nothing(
    tmp_path: Path, grid: Any, retries: int, ended: Callable[[CellJob], Event]
) -> None:
    def script(job: CellJob) -> Event:
        ended(job)
        return Event("lost", job.cell, message="killed", retries=retries)

    launcher = Launcher(tmp_path, grid, script)
    assert launcher.run() is (ended is done)
    assert [number for _, number in launcher.executor.tried] == [1] * 6 and not launcher.told("again")
    assert len(launcher.told("done" if ended is done else "failed")) == 6
    assert {record["status"] for record in launcher.store.scan().records} == {"done" if ended is done else "failed"}
    assert list((tmp_path / ".leases").iterdir()) == []


def test_a_cell_that_failed_by_itself_is_not_tried_again(tmp_path: Path, grid: Any) -> None:
    launcher = Launcher(tmp_path, grid, failed)
    assert not launcher.run()
    assert all(number == 1 for _, number in launcher.executor.tried) and len(launcher.told("failed")) == 6


def test_the_record_says_which_try_it_was(tmp_path: Path, grid: Any) -> None:
    def script(job: CellJob) -> Event:
        return done(job) if job.record["tries"] == 3 else Event("lost", job.cell, retries=2)

    launcher = Launcher(tmp_path, grid, script)
    assert launcher.run()
    assert {record["tries"] for record in launcher.store.scan().records} == {3}


def test_two_launchers_share_the_cells_and_each_is_done_once(tmp_path: Path, grid: Any) -> None:
    launchers = [Launcher(tmp_path, grid, done, before={}) for _ in range(2)]
    threads = [threading.Thread(target=launcher.run) for launcher in launchers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tried = [title for launcher in launchers for title, _ in launcher.executor.tried]
    assert sorted(tried) == sorted(cell.title for cell in launchers[0].cells)
    assert all(len(launcher.told("done")) == 6 for launcher in launchers)  # each hears of the other's


def test_a_launcher_waits_for_the_cells_of_others_and_says_so(tmp_path: Path, grid: Any) -> None:
    launcher = Launcher(tmp_path, grid, done)
    cell, headers = grid[0][0], grid[1]
    lease = Leases(tmp_path).claim(cell.key, cell.title)
    assert lease is not None
    other = CellJob(cell, headers(cell), launcher.store, lease)
    launcher.loop._listener = lambda event: (launcher.events.append(event), event.kind == "waiting" and failed(other))
    assert not launcher.run()  # the other's failure is this grid's failure
    assert launcher.told("waiting") == [cell.title]
    assert launcher.told("failed") == [cell.title] and len(launcher.told("done")) == 5
    assert cell.title not in [title for title, _ in launcher.executor.tried]


def test_the_cell_of_a_launcher_that_went_silent_is_run_here(tmp_path: Path, grid: Any) -> None:
    launcher = Launcher(tmp_path, grid, done, leases=Leases(tmp_path, patience=0.05))
    dead = Leases(tmp_path).claim(grid[0][0].key, "")
    assert dead is not None
    dead.path.write_bytes(b'{"owner": "x", "machine": "elsewhere", "pid": 1}'.ljust(SIZE))
    assert launcher.run()
    assert len(launcher.executor.tried) == 6


def test_a_cell_taken_over_is_heard_of_when_the_other_ends_it(tmp_path: Path, grid: Any) -> None:
    def script(job: CellJob) -> Event:
        if job.record["tries"] == 1 and job.cell.title == "sum seed 0" and not job.store.state():
            job.store.save({**job.record, "status": "done"}, {})  # by the one who took it
            job.lease.release()
            return Event("taken", job.cell)
        return done(job)

    launcher = Launcher(tmp_path, grid, script)
    assert launcher.run()
    assert [title for title, _ in launcher.executor.tried].count("sum seed 0") == 1
    assert launcher.told("done").count("sum seed 0") == 1


def test_records_that_were_there_before_do_not_end_a_forced_run(tmp_path: Path, grid: Any) -> None:
    Launcher(tmp_path, grid, done).run()
    again = Launcher(tmp_path, grid, done)
    assert again.run() and len(again.executor.tried) == 6


def test_fail_fast_starts_no_more(tmp_path: Path, grid: Any) -> None:
    launcher = Launcher(tmp_path, grid, failed, fail_fast=True)
    assert not launcher.run()
    assert len(launcher.executor.tried) == 2  # those that ran already
    assert list((tmp_path / ".leases").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_signals_stop_the_executor_with_grace_and_release_leases(tmp_path: Path, grid: Any, number: int) -> None:
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip("the signal is ignored here: a job in the background of a shell, or under nohup")

    def script(job: CellJob) -> Event:
        os.kill(os.getpid(), number)
        return Event("step", job.cell)

    launcher = Launcher(tmp_path, grid, script)
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        launcher.run()
    assert launcher.executor.stops == [loop_module.GRACE]
    assert list((tmp_path / ".leases").iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) is handler


def test_a_second_ctrl_c_kills_at_once(tmp_path: Path, grid: Any) -> None:
    def script(job: CellJob) -> Event:
        raise KeyboardInterrupt

    launcher = Launcher(tmp_path, grid, script)

    def stop(grace: float) -> None:
        launcher.executor.stops.append(grace)
        if grace:
            raise KeyboardInterrupt

    launcher.executor.stop = stop  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        launcher.run()
    assert launcher.executor.stops == [loop_module.GRACE, 0.0]


def test_a_results_folder_that_is_removed_fails_the_cells_clearly(tmp_path: Path, grid: Any) -> None:
    folder = tmp_path / "results"
    launcher = Launcher(folder, grid, done)
    import shutil

    shutil.rmtree(folder)
    assert not launcher.run()
    assert len(launcher.told("failed")) == 6 and not folder.exists()
    assert all("its lease cannot be written" in event.message for event in launcher.events)


def test_which_gpu_is_no_part_of_a_key_but_that_it_is_one(make_workload: Callable[..., Workload]) -> None:
    workload = make_workload()
    on = [replace(workload, recipe=workload.recipe.model_copy(update={"device": name})) for name in ("cuda", "cuda:1")]
    assert on[0].identity() == on[1].identity() != workload.identity()
