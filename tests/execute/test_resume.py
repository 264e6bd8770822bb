"""Cells that are stopped and killed while they train: their processes' ends, and what the next ones make of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mtlbench.contract.method import Method
from mtlbench.contract.observation import Observation, Vector
from mtlbench.diagnose import diagnose
from mtlbench.diagnose.text import to_blocks, to_json
from mtlbench.diagnose.unfinished import unfinished
from mtlbench.errors import CellError
from mtlbench.execute.executor import CellJob, Event
from mtlbench.execute.remote import run_remote
from mtlbench.execute.worker import run_cell
from mtlbench.plan.cells import Workload, make_cells
from mtlbench.plugins.registry import load_registry
from mtlbench.records.header import header
from mtlbench.records.leases import Leases
from mtlbench.records.record import Record
from mtlbench.records.record_file import read_history
from mtlbench.records.store import CHECKPOINTS, Store
from mtlbench.report.text import render

Make = Callable[..., Workload]


@pytest.fixture(autouse=True)
def torch_as_before() -> Iterator[None]:
    """A cell changes settings of torch that it has to itself in a process of its own."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


@dataclass
class Cells:
    """Tries at one cell, in this process."""

    workload: Workload
    folder: Path
    method: str = "gradnorm"
    every: float = 1e9
    events: list[Event] = field(default_factory=list)

    def run(self, heard: Callable[[Event], None] = lambda event: None) -> Event:
        def tell(event: Event) -> None:
            self.events.append(event)
            heard(event)

        job = self.job()
        ended = run_cell(job, tell)
        job.lease.release()
        return ended

    def job(self) -> CellJob:
        """Return the next try."""
        registry = load_registry(self.workload.plugin_files)
        (cell,) = make_cells(self.workload, [registry.method(self.method)], [0])
        store = Store(self.folder)
        store.prepare()
        lease = Leases(self.folder).claim(cell.key, cell.title)
        assert lease is not None
        record = header(cell, self.workload, registry, {})
        return CellJob(replace(cell, checkpoint_every=self.every), record, store, lease)

    @property
    def notes(self) -> list[str]:
        return [event.message for event in self.events if event.kind == "note"]

    @property
    def records(self) -> list[Record]:
        return Store(self.folder).scan().records

    @property
    def checkpoints(self) -> list[int]:
        """The steps of the checkpoints that are there."""
        return sorted(int(path.name[:9]) for path in (self.folder / CHECKPOINTS).glob("*/*.safetensors"))


def at(step: int, act: Callable[[], None]) -> Callable[[Event], None]:
    def heard(event: Event) -> None:
        if event.kind == "step" and event.done == step:
            act()

    return heard


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def bits(record: Record) -> Any:
    rows = [{k: v for k, v in row.items() if k not in ("seconds", "elapsed")} for row in read_history(record)]
    same = {name: record[name] for name in ("scores", "pairing", "conflict", "engine", "cut")}
    return same, rows, record["files"]["predictions"]["sha256"]


@pytest.fixture
def undisturbed(make_workload: Make, tmp_path: Path) -> Record:
    cells = Cells(make_workload(), tmp_path / "undisturbed")
    assert cells.run().kind == "done" and cells.notes == []
    (record,) = cells.records
    assert record["resumed"] == [] and not list((cells.folder / CHECKPOINTS).glob("*"))
    return record


def test_on_another_machine_notes_are_kept_until_the_end(make_workload: Make, tmp_path: Path) -> None:
    cells = Cells(make_workload(), tmp_path)
    cells.run(at(1, terminate))
    ended = run_remote(cells.job())
    assert ended.kind == "done" and ended.notes == ("goes on after step 1 of 4",)
    assert cells.records[0]["environment"]["machine"]["cores"] >= 1


def test_cells_that_are_not_at_their_end_are_examined_as_far_as_they_went(make_workload: Make, tmp_path: Path) -> None:
    cells = Cells(make_workload(), tmp_path, every=1e-9)
    seen: list[Record] = []
    steps: list[int] = []

    def look() -> None:
        steps.append(cells.checkpoints[-1])
        seen.extend(unfinished(tmp_path, pytest.fail))
        terminate()

    cells.run(at(3, look))
    seen.extend(unfinished(tmp_path, pytest.fail))
    assert [(one["status"], one["seed"], one["method"]["spec"]) for one in seen] == [
        ("running", 0, "gradnorm"),
        ("stopped", 0, "gradnorm"),
    ]
    assert [max(row["step"] for row in one["history"]) for one in seen] == [*steps, 3]
    assert set(seen[0]["seen"]) == {"mood", "same", "like"} and seen[0]["encoder"]["trainable"] > 0
    ((group, findings),) = diagnose(seen)
    assert not group.failed and not group.done
    text = " ".join(render(to_blocks([(group, findings)])).split())
    assert "stopped, after step 3 of 4; the next mtlbench run goes on from there" in text
    (told,) = json.loads(to_json([(group, findings)]))["groups"]
    assert told["unfinished"] == [{"method": "gradnorm", "seed": 0, "state": "stopped", "step": 3, "steps": 4}]
    assert cells.run().kind == "done" and unfinished(tmp_path, pytest.fail) == []


def test_a_torn_checkpoint_is_left_out_of_an_examination(make_workload: Make, tmp_path: Path) -> None:
    Cells(make_workload(), tmp_path).run(at(2, terminate))
    (path,) = (tmp_path / CHECKPOINTS).glob("*/*")
    path.write_bytes(path.read_bytes()[:-1])
    told: list[str] = []
    assert unfinished(tmp_path, told.append) == []
    assert len(told) == 1 and "torn" in told[0]


def test_a_process_that_is_asked_to_stop_leaves_a_checkpoint_and_no_record(make_workload: Make, tmp_path: Path) -> None:
    cells = Cells(make_workload(), tmp_path)
    before = signal.getsignal(signal.SIGTERM)
    for step in (1, 3):
        ended = cells.run(at(step, terminate))
        assert ended.kind == "lost" and ended.retries > 0
        assert ended.message == f"its process was asked to end, by SIGTERM, after step {step}"
    assert cells.checkpoints == [1, 3]
    assert cells.records == []
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_stopped_cell_goes_on_to_the_same_bits_and_says_so(
    make_workload: Make, tmp_path: Path, undisturbed: Record
) -> None:
    cells = Cells(make_workload(), tmp_path / "stopped")
    for step in (1, 3):
        cells.run(at(step, terminate))
    assert not cells.records and cells.checkpoints == [1, 3]
    assert cells.run().kind == "done"
    (record,) = cells.records
    assert bits(record) == bits(undisturbed)
    assert record["resumed"] == [1, 3]
    assert cells.notes == ["goes on after step 1 of 4", "goes on after step 3 of 4"]
    assert [event.done for event in cells.events if event.kind == "step"] == [1, 2, 3, 4]
    assert cells.checkpoints == [] and record["seconds"] > sum(row.get("seconds", 0.0) for row in read_history(record))


def test_a_stop_after_the_last_step_ends_the_cell(make_workload: Make, tmp_path: Path) -> None:
    cells = Cells(make_workload(), tmp_path)
    assert cells.run(at(4, terminate)).kind == "done" and len(cells.records) == 1


def test_without_checkpoints_a_stop_is_a_beginning_anew(make_workload: Make, tmp_path: Path) -> None:
    cells = Cells(make_workload(), tmp_path, every=0.0)
    assert cells.run(at(2, terminate)).kind == "lost" and not (tmp_path / CHECKPOINTS).exists()
    assert cells.run().kind == "done" and cells.records[0]["resumed"] == []


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        (CellError("step 3: the loss of task mood is nan", 3, "mood"), False),
        (RuntimeError("no weights today"), False),
        (MemoryError("full"), True),
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (OSError(5, "Input/output error"), True),
    ],
)
def test_checkpoints_outlive_failures_that_may_pass_and_no_others(
    make_workload: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, kept: bool
) -> None:
    def weights(self: Method, seen: Observation) -> Vector:
        raise error

    cells = Cells(make_workload(), tmp_path)
    cells.run(at(2, terminate))
    with monkeypatch.context() as patch:
        patch.setattr("mtlbench.methods.gradnorm.GradNorm.weights", weights)
        assert cells.run().kind == "failed"
    (record,) = cells.records
    assert record["status"] == "failed" and record["resumed"] == [2]
    assert cells.checkpoints == ([2] if kept else [])
    assert [row["step"] for row in read_history(record) if "losses" in row] == [1, 2]


def test_a_full_disk_costs_the_checkpoint_and_not_the_cell(
    make_workload: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: Record
) -> None:
    def full(path: Path, *content: bytes | memoryview) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mtlbench.training.checkpoint.write_whole", full)
    cells = Cells(make_workload(), tmp_path / "full", every=1e-9)
    assert cells.run().kind == "done" and bits(cells.records[0]) == bits(undisturbed)
    assert cells.notes[0] == "no checkpoint after step 1: [Errno 28] No space left on device"


def test_a_damaged_checkpoint_is_named_and_the_one_before_used(
    make_workload: Make, tmp_path: Path, undisturbed: Record
) -> None:
    cells = Cells(make_workload(), tmp_path / "damaged")
    for step in (1, 3):
        cells.run(at(step, terminate))
    newest = max((cells.folder / CHECKPOINTS).glob("*/*"))
    newest.write_bytes(newest.read_bytes()[:-1])
    assert cells.run().kind == "done"
    assert cells.notes[-2].endswith("is no use: torn, or changed since it was written")
    assert cells.notes[-1] == "goes on after step 1 of 4"
    assert bits(cells.records[0]) == bits(undisturbed) and cells.records[0]["resumed"] == [1]


# Cells' own processes, killed

KILLER = '''
import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import mtlbench.training.checkpoint
from mtlbench import Method

FOLDER = Path("HERE")
mtlbench.training.checkpoint.SHARE = 1e9  # a checkpoint after every step
write_whole, save = mtlbench.training.checkpoint.write_whole, mtlbench.training.checkpoint.Checkpoints.save

def kill_once(moment, path):
    try:
        (FOLDER / f"{moment} {path.parent.name}").touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)

def written(path, *content):
    if int(path.name[:9]) == 3 and int(path.parent.name, 16) % 2:  # of half the cells: while the third is written
        path.with_name(f".writing-0-{path.name}").write_bytes(b"".join(content)[:1000])
        kill_once("during", path)
    write_whole(path, *content)
    if int(path.name[:9]) == 3:
        kill_once("after", path) if not int(path.parent.name, 16) % 2 else None

mtlbench.training.checkpoint.write_whole = written

@dataclass
class Unused(Method):
    """Makes this file a plugin."""
    name = "unused"
'''


@pytest.mark.slow
def test_cells_killed_between_and_during_checkpoints_go_on_to_the_same_bits(
    mtlbench: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    plugin = tmp_path / "killer.py"
    plugin.write_text(KILLER.replace("HERE", str(tmp_path)))  # the fork server has the environment of its own start
    grid = ("run", "--methods", "stl,pcgrad,gradnorm,excess-mtl", "--seeds", "3")
    assert mtlbench(*grid, "--results", str(tmp_path / "undisturbed"), "--checkpoint-every", "0").returncode == 0
    killed = mtlbench(
        *grid, "--results", str(tmp_path / "killed"), "--checkpoint-every", "1e-9", "--plugin", str(plugin)
    )
    assert killed.returncode == 0, killed.stderr
    found = {name: Store(tmp_path / name).scan().records for name in ("undisturbed", "killed")}
    expected = {record["key"]: bits(record) for record in found["undisturbed"]}
    assert len(expected) == 12 and {record["key"]: bits(record) for record in found["killed"]} == expected
    moments = {path.name.partition(" ")[0] for path in tmp_path.glob("* *")}
    assert moments == {"during", "after"} and len(list(tmp_path.glob("* *"))) == 12
    for record in found["killed"]:
        during = (tmp_path / f"during {record['key']}").exists()
        assert record["tries"] == 2 and record["resumed"] == [2 if during else 3]
    assert killed.stderr.count("goes on after step") == 12
    assert not list((tmp_path / "killed" / CHECKPOINTS).glob("*"))
