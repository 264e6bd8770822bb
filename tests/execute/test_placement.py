"""Where cells run: options, GPUs, and what is refused. There is no GPU here: CUDA's count is made up."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from grids import Grid

from mtlbench.errors import UsageError
from mtlbench.execute.local import Local, device_slots
from mtlbench.execute.placement import Placement, torchrun_place
from mtlbench.host.provenance import usable_cores
from mtlbench.plan.cells import Workload
from mtlbench.records.store import Store


@pytest.fixture
def four_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.parametrize(
    ("options", "device", "complaint"),
    [
        ({"executor": "rya"}, "cpu", "unknown executor 'rya'; did you mean ray"),
        ({"jobs": 0}, "cpu", "jobs must be at least 1"),
        ({"address": "auto"}, "cpu", "--address goes with --executor ray"),
        ({"executor": "ray", "slurm_time": 5}, "cpu", "--slurm-time goes with --executor slurm"),
        ({"executor": "ray", "devices": "cuda:0"}, "cuda", "--devices goes with --executor local"),
        ({"executor": "ray"}, "cuda:1", "give --device cuda, not cuda:1"),
        ({"jobs_per_device": 2}, "cuda", "--jobs-per-device needs --devices"),
        ({"devices": "cuda:0", "jobs": 2}, "cuda", "give either --jobs, or --devices"),
        ({"devices": "cuda:0"}, "cpu", "--devices needs --device cuda"),
        ({"devices": "cuda:4"}, "cuda", "device cuda:4 is not available here (4 CUDA devices)"),
        ({"devices": "cuda:0,gpu1"}, "cuda", "device 'gpu1' is not known"),
        ({}, "cuda:x", "device 'cuda:x' is not known"),
        ({}, "tpu", "device 'tpu' is not known"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line(
    make_workload: Callable[..., Workload], four_gpus: None, options: dict[str, Any], device: str, complaint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        Placement(**options).check(make_workload(device=device).recipe)
    assert complaint in str(caught.value) and "\n" not in str(caught.value)


def test_each_gpu_has_room_for_its_cells_in_turn(make_workload: Callable[..., Workload], four_gpus: None) -> None:
    recipe = make_workload(device="cuda").recipe
    placement = Placement(devices="cuda:0, cuda:2", jobs_per_device=2)
    placement.check(recipe)
    assert placement.room(recipe) == 4
    assert device_slots(["cuda:0", "cuda:2"], 2) == ["0", "2", "0", "2"]


def test_devices_count_within_the_inherited_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-5ac, 7")
    assert device_slots(["cuda:1", "cuda:2"], 1) == ["GPU-5ac", "7"]


def test_jobs_are_lowered_to_the_cores(make_workload: Callable[..., Workload]) -> None:
    recipe = make_workload(threads=2).recipe
    most = max(1, usable_cores() // 2)
    assert Placement().room(recipe) == Placement(jobs=1000).room(recipe) == most
    assert f"--jobs 1000 lowered to {most}: 2 threads a cell" in Placement(jobs=1000).note(recipe)
    assert Placement(jobs=1).note(recipe) == ""


SEES = '''
import os
from dataclasses import dataclass
from mtlbench import Method, Observation

@dataclass
class Sees(Method):
    """Tells which GPUs it may see."""
    name = "sees"
    def weights(self, seen: Observation):
        raise RuntimeError("sees " + os.environ.get("CUDA_VISIBLE_DEVICES", "all"))
'''


def test_a_cells_process_sees_its_own_gpu(
    make_workload: Callable[..., Workload], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue of GPUs with cells on the CPU: what each process would see."""
    plugin = tmp_path / "sees.py"
    plugin.write_text(SEES)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,6")
    grid = Grid(make_workload(), ["sees"], [0, 1, 2, 3], plugin)
    executor = Local(device_slots(["cuda:0", "cuda:1"], 1))
    assert not grid.loop(tmp_path / "results", executor, lambda event: None).run(grid.cells)
    messages = [record["error"]["message"] for record in Store(tmp_path / "results").scan().records]
    raised = "step 1: method sees: weights() raised RuntimeError: sees"
    assert set(messages) == {f"{raised} 5", f"{raised} 6"}


@pytest.mark.parametrize("lacks", ["RANK", "WORLD_SIZE", "TORCHELASTIC_RUN_ID"])
def test_a_shell_with_some_of_torchruns_variables_is_no_process_of_it(
    monkeypatch: pytest.MonkeyPatch, lacks: str
) -> None:
    for name in ("TORCHELASTIC_RUN_ID", "RANK", "WORLD_SIZE"):
        monkeypatch.setenv(name, "1")
    assert torchrun_place() == (1, 1)
    monkeypatch.delenv(lacks)
    assert torchrun_place() is None


@pytest.mark.parametrize(
    ("port", "why"), [("1", "timed out|refused|failed"), ("none", "invalid literal"), (None, "MASTER_PORT")]
)
def test_processes_of_torchrun_that_do_not_meet_say_so(
    monkeypatch: pytest.MonkeyPatch, port: str | None, why: str
) -> None:
    from mtlbench.execute import torchrun

    answers = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "RANK": "1", "WORLD_SIZE": "2"}
    for name, value in answers.items():
        monkeypatch.setenv(name, value) if value is not None else monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torchrun, "rendezvous", partial(torchrun.rendezvous, timeout=timedelta(seconds=1)))
    with pytest.raises(UsageError, match=f"process 0 of torchrun does not answer: .*({why})"):
        torchrun.Torchrun()
