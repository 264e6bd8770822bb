"""Cells over several processes, from training to the command line: the same numbers, and an end whatever happens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist

from mtlbench.engine.processes import ALONE, ProcessDied, Processes, spread
from mtlbench.errors import CellError, UsageError
from mtlbench.execute.placement import Placement
from mtlbench.grid.command import RunRequest, _spread
from mtlbench.plan.cells import Workload
from mtlbench.plugins.registry import load_registry
from mtlbench.recipe.suite import load_suite
from mtlbench.records.record import Record
from mtlbench.records.store import Store
from mtlbench.text.inputs import Inputs
from mtlbench.training.checkpoint import Checkpoints
from mtlbench.training.result import CellResult
from mtlbench.training.train import Training, train

Make = Callable[..., Workload]
Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    """Forks of a process that has computed with several threads must not start any."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def run(workload: Workload, method: str, processes: Processes = ALONE) -> CellResult:
    return train(workload, load_registry().method(method), 0, processes=processes)


def run_spread(workload: Workload, method: str) -> CellResult:
    """Train with as many processes as the recipe says; this is number 0."""
    recipe = workload.recipe
    with spread(recipe.processes, recipe.device, lambda others: run(workload, method, others)) as processes:
        return run(workload, method, processes)


def untimed(outcome: CellResult) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in ("seconds", "elapsed")} for row in outcome.history]


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("pcgrad", {}),
        ("pcgrad", {"accumulate": 2, "update_norm": "sum"}),
        ("famo", {}),
        ("stl", {}),
        ("sdmgrad", {}),
        ("graddrop", {"precision": "float16"}),
        ("mgda", {"checkpointing": True}),
        ("sum", {}),
    ],
)
def test_training_gives_the_numbers_of_one_process_with_as_many_parts(
    make_workload: Make, method: str, options: dict[str, Any]
) -> None:
    workload = make_workload(processes=2, batch_size=8, **options)
    alone, actual = run(workload, method), run_spread(workload, method)
    assert untimed(actual) == untimed(run_spread(workload, method))  # the same bits every time
    for one, other in zip(actual.history, alone.history, strict=True):
        for name in {"losses", "weights", "norms"} & other.keys():
            reference = list(other[name].values())
            np.testing.assert_allclose(
                list(one[name].values()), reference, rtol=2e-3 if options.get("precision") else 1e-4
            )
    assert actual.pairing == alone.pairing
    for task, outputs in alone.outputs["dev"].items():
        np.testing.assert_allclose(
            actual.outputs["dev"][task], outputs, atol=1e-3 if options.get("precision") else 1e-5
        )


def test_the_loop_engine_and_frozen_encoders(make_workload: Make) -> None:
    for changes in ({"engine": "loop"}, {"model": f"{make_workload().recipe.model[:-1]},frozen=true]"}):
        workload = make_workload(processes=2, **changes)
        packed = make_workload(processes=2, **{**changes, "engine": "packed"})
        alone, actual = run(packed, "pcgrad"), run_spread(workload, "pcgrad")
        for task, outputs in alone.outputs["dev"].items():
            np.testing.assert_allclose(actual.outputs["dev"][task], outputs, atol=1e-5)


def test_the_loop_engine_takes_no_more_parts_than_processes(make_workload: Make) -> None:
    with pytest.raises(CellError, match="accumulate needs the packed engine"):
        run(make_workload(engine="loop", accumulate=2), "sum")


def test_a_gradient_that_overflows_in_one_process_skips_the_step_in_all(
    make_workload: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Inputs.forward

    def forward(self: Inputs, step: int, number: int, tasks: Any, part: int = 0) -> Any:
        graphs = original(self, step, number, tasks, part)
        if step == 1 and self.processes.rank == 1:
            graphs[0].representation[0].register_hook(lambda gradient: gradient * float("inf"))
        return graphs

    monkeypatch.setattr(Inputs, "forward", forward)
    outcome = run_spread(make_workload(processes=2, precision="float16"), "pcgrad")
    assert [row.get("skipped", False) for row in outcome.history if "losses" in row] == [False, True, False, False]


def resumed(workload: Workload, folder: Path, stop: int | None) -> CellResult:
    """Go on from the newest checkpoint, if there is one, to a step, after which process 0 writes the next one."""

    def work(processes: Processes) -> CellResult:
        training = Training(workload, load_registry().method("pcgrad"), 0, processes)
        kept = Checkpoints(folder, "k" * 64, every=1.0, tell=lambda line: None)
        if (state := kept.newest()) is not None:
            training.load_state_dict(state)
        for done in training.run():
            if done == stop:
                if processes.rank == 0:
                    kept.save(done, training.state_dict)
                break
        return training.result()

    with spread(workload.recipe.processes, "cpu", work) as processes:
        return work(processes)


def test_processes_go_on_from_a_checkpoint_with_the_same_bits(make_workload: Make, tmp_path: Path) -> None:
    workload = make_workload(processes=2)
    resumed(workload, tmp_path, 1)
    resumed(workload, tmp_path, 3)
    actual, whole = resumed(workload, tmp_path, None), run_spread(workload, "pcgrad")
    assert untimed(actual) == untimed(whole)
    assert all(
        actual.outputs["dev"][task].tobytes() == outputs.tobytes() for task, outputs in whole.outputs["dev"].items()
    )


# What goes wrong in one process


def failing(workload: Workload, where: int, fail: Callable[[], None]) -> CellResult:
    """Train, with something that goes wrong after the second step in one process."""

    def follow(processes: Processes) -> CellResult:
        def heard(done: int, total: int) -> None:
            if done == 2 and processes.rank == where:
                fail()

        return train(workload, load_registry().method("pcgrad"), 0, heard, processes)

    with spread(workload.recipe.processes, "cpu", follow) as processes:
        return follow(processes)


def raises() -> None:
    raise ValueError("no rows today")


def dies() -> None:
    os.kill(os.getpid(), 9)


def test_an_error_that_one_process_meets_is_the_cells(make_workload: Make) -> None:
    workload = make_workload(processes=4)
    with pytest.raises(CellError, match=r"^ValueError: no rows today \(process 2 of 4\)$"):
        failing(workload, 2, raises)
    with pytest.raises(ValueError, match="no rows today"):
        failing(workload, 0, raises)


def test_a_process_that_dies_is_named(make_workload: Make) -> None:
    with pytest.raises(ProcessDied, match=r"^process 1 of 2 ended with signal SIGKILL \(out of memory\?\)$"):
        failing(make_workload(processes=2), 1, dies)


@pytest.mark.slow
def test_a_process_that_does_not_answer_is_not_waited_for_for_ever(
    make_workload: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mtlbench.engine.processes.TIMEOUT", timedelta(seconds=8))
    monkeypatch.setattr("mtlbench.engine.processes.GRACE", 0.1)
    with pytest.raises(ProcessDied, match="no answer from another of the 2 processes"):
        failing(make_workload(processes=2), 1, lambda: time.sleep(600.0))


def test_processes_end_with_their_block() -> None:
    actual: list[int] = []
    with spread(2, "cpu", lambda others: (others.gather(os.getpid()), dist.barrier())) as processes:
        actual = processes.gather(os.getpid())
    with pytest.raises(ProcessLookupError):
        os.kill(actual[1], 0)
    assert not dist.is_initialized()


# The command line


def record_of(folder: Path) -> Record:
    (record,) = Store(folder).scan().records
    return record


def test_a_cell_over_two_processes(mtlbench: Call, tmp_path: Path) -> None:
    arguments = ("run", "--methods", "pcgrad", "--seeds", "1", "--results")
    assert mtlbench(*arguments, str(tmp_path / "two"), "--processes-per-cell", "2").returncode == 0
    two = record_of(tmp_path / "two")
    assert two["status"] == "done" and two["recipe"]["processes"] == 2
    assert mtlbench(*arguments, str(tmp_path / "parts"), "--accumulate", "2").returncode == 0
    parts = record_of(tmp_path / "parts")
    assert parts["key"] != two["key"] and json.dumps(parts["pairing"]) == json.dumps(two["pairing"])
    for task, scores in two["scores"].items():
        for name, value in scores.items():
            assert value == pytest.approx(parts["scores"][task][name], abs=1e-4)


DIES = '''
import os
from dataclasses import dataclass
import numpy as np
import torch.distributed as dist
from mtlbench import Method, Observation

@dataclass
class Dies(Method):
    """Kills the second process of its cell."""
    name = "dies"
    def weights(self, seen: Observation):
        if dist.get_rank() == 1:
            os.kill(os.getpid(), 9)
        return np.ones(seen.tasks)
'''


def test_a_process_that_dies_costs_its_cell_and_no_other(mtlbench: Call, tmp_path: Path) -> None:
    plugin = tmp_path / "dies.py"
    plugin.write_text(DIES)
    arguments = ("--plugin", str(plugin), "--methods", "dies,sum", "--seeds", "1", "--processes-per-cell", "2")
    done = mtlbench("run", *arguments, "--results", str(tmp_path / "out"))
    assert done.returncode == 1 and "1 done, 1 failed" in done.stderr
    records = {record["method"]["name"]: record for record in Store(tmp_path / "out").scan().records}
    assert records["sum"]["status"] == "done"
    assert records["dies"]["error"]["type"] == "ProcessDied"
    assert "process 1 of 2 ended with signal SIGKILL" in records["dies"]["error"]["message"]


def test_what_cannot_be_split_is_said_in_one_line(mtlbench: Call, suite_file: Path) -> None:
    done = mtlbench("run", "--processes-per-cell", "3")
    assert done.returncode == 2
    assert done.stderr.strip() == "mtlbench: option processes=3 does not divide batch_size=4"
    with pytest.raises(UsageError, match="accumulate=2 × processes=4 does not divide batch_size=4"):
        load_suite(str(suite_file)).recipe({"accumulate": 2, "processes": 4})
    with pytest.raises(UsageError, match="give device=cuda, not cuda:1"):
        load_suite(str(suite_file)).recipe({"processes": 2, "device": "cuda:1"})


def test_processes_of_one_leave_keys_as_they_were(make_workload: Make) -> None:
    assert make_workload(processes=1).identity() == make_workload().identity()
    assert make_workload(processes=2).identity() != make_workload().identity()


def torchrun(count: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    given = [*command, "-m", "mtlbench", "run", *arguments]
    return subprocess.run(given, capture_output=True, text=True, timeout=240.0, check=False)


@pytest.mark.slow
def test_torchrun_trains_every_cell_in_all_its_processes(suite_file: Path, data_dir: Path, tmp_path: Path) -> None:
    plugin = tmp_path / "dies.py"
    plugin.write_text(DIES.replace("os.kill(os.getpid(), 9)", 'raise RuntimeError("not here")'))
    arguments = [
        "--suite",
        str(suite_file),
        "--data-dir",
        str(data_dir),
        "--methods",
        "pcgrad,dies,sum",
        "--seeds",
        "1",
    ]
    arguments += ["--plugin", str(plugin), "--results", str(tmp_path / "out")]
    done = torchrun(2, *arguments)
    records = {record["method"]["name"]: record for record in Store(tmp_path / "out").scan().records}
    assert {name: record["status"] for name, record in records.items()} == {
        "pcgrad": "done",
        "dies": "failed",
        "sum": "done",
    }, done.stderr
    assert records["pcgrad"]["recipe"]["processes"] == 2
    raised = "step 1: method dies: weights() raised RuntimeError: not here (process 1 of 2)"
    assert records["dies"]["error"]["message"] == raised
    assert done.stderr.count("2 done, 1 failed") == 1
    again = torchrun(2, *arguments, "--methods", "pcgrad,sum")
    assert again.returncode == 0, again.stderr
    assert "2 done, 0 to run" in again.stderr


def test_options_that_torchrun_leaves_no_room_for(tmp_path: Path) -> None:
    request = RunRequest("quick", "sum", "1", None, tmp_path)
    assert _spread(request, 4).changes == {"processes": 4}
    with pytest.raises(UsageError, match="torchrun has started 4 processes: leave --processes-per-cell away"):
        _spread(replace(request, changes={"processes": 2}), 4)
    with pytest.raises(UsageError, match="one cell runs at a time: leave --executor, --jobs and --devices away"):
        _spread(replace(request, placement=Placement(jobs=2)), 4)
