"""What every cell would tell of is told once, before the first one."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
from model_folders import write_folder
from pydantic import Field

from mtlbench.contract.method import Method
from mtlbench.contract.observation import Observation, Vector
from mtlbench.errors import UsageError
from mtlbench.plan.cells import Workload
from mtlbench.plan.conditions import check_methods
from mtlbench.plugins.registry import load_registry
from mtlbench.text.model_trial import Traits, check_recipe, try_model

Command = Callable[..., subprocess.CompletedProcess[str]]


@dataclass
class Foreign(Method):
    """Somebody's own, whose code may do anything."""

    name = "foreign"

    which: Annotated[int, Field(ge=0)] = 0

    @property
    def min_tasks(self) -> int:
        return self.which + 1

    def weights(self, seen: Observation) -> Vector:
        raise SystemExit("the launcher is gone")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("krum", "method krum needs at least 4 tasks, got 3"),
        ("krum[byzantine=0,selected=4]", "needs at least 4 tasks"),
        ("trimmed-mean[trim=2]", "needs at least 5 tasks"),
        ("fixed[w=1:2]", "w=1:2 has 2 numbers for 3 tasks"),
        ("fixed[w=1:2:3:4]", "has 4 numbers for 3 tasks"),
        ("metabalance[main=3]", "main=3 counts from 0, and there are 3 tasks"),
        ("cosine-gate[main=7]", "main=7 counts from 0"),
        ("pcd[main=3]", "needs at least 4 tasks"),
        ("log-pcd[main=3]", "needs at least 4 tasks"),
        ("log-krum", "method log-krum needs at least 4 tasks"),
    ],
)
def test_methods_that_are_not_defined_for_so_many_tasks(spec: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_methods([load_registry().method(spec)], 3)


def test_of_a_foreign_method_nothing_runs_and_what_it_declares_counts() -> None:
    log = load_registry().wrappers["log"]
    for cls in (Foreign, log.around(Foreign)):
        check_methods([cls.make({"which": 2})], 3)
        with pytest.raises(UsageError, match="foreign needs at least 4 tasks, got 3"):
            check_methods([cls.make({"which": 3})], 3)


def test_every_method_that_fits_passes_and_keeps_its_state() -> None:
    registry = load_registry()
    for name in registry.catalogue():
        method = registry.method(name)
        tasks = max(3, method.min_tasks)
        before = repr(method.state_dict())
        check_methods([method], tasks)
        assert repr(method.state_dict()) == before
    check_methods([registry.method("stl")], 1)
    check_methods([registry.method("famo[minimum=2]"), registry.method("fixed[w=1:2]")], 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"engine": "packed"}, "engine=packed is not possible: no packs; use engine=auto or loop"),
        ({"engine": "lean"}, "engine=lean is not possible"),
        ({"accumulate": 2}, r"accumulate needs the packed engine, not the loop \(no packs\)"),
        ({"checkpointing": True}, "checkpointing is not possible"),
    ],
)
def test_recipes_that_the_model_cannot_follow(
    changes: dict[str, object], message: str, make_workload: Callable[..., Workload]
) -> None:
    recipe = make_workload(**changes).recipe
    check_recipe(recipe, Traits())
    with pytest.raises(UsageError, match=message):
        check_recipe(recipe, Traits("no packs", recomputes=False))


@pytest.mark.parametrize("family", ["mpnet", "albert"])
def test_a_model_that_cannot_be_packed_is_told_before_the_first_cell(
    family: str, make_workload: Callable[..., Workload], tmp_path: Path
) -> None:
    model = str(write_folder(tmp_path / family, family))
    assert (workload := make_workload(model=model)).problem.traits(workload.recipe).unpacked
    with pytest.raises(UsageError, match=f"engine=packed is not possible: encoder family {family} is not among"):
        (workload := make_workload(model=model, engine="packed")).problem.check(workload.recipe)


def test_more_layers_than_there_are_is_told_without_loading(
    make_workload: Callable[..., Workload], tiny_bert: Path, tmp_path: Path
) -> None:
    other = write_folder(tmp_path / "distilbert", "distilbert")
    for model in (tiny_bert, other):
        with pytest.raises(UsageError, match="has 2 layers, not 99"):
            make_workload(model=f"{model}[layers=99]")


def test_accumulation_by_the_loop_is_refused_whatever_the_model(make_workload: Callable[..., Workload]) -> None:
    with pytest.raises(UsageError, match=r"accumulate needs the packed engine, not the loop \(asked for\)"):
        check_recipe(make_workload(engine="loop", accumulate=2).recipe, Traits())


@pytest.mark.parametrize(
    ("verb", "options"),
    [
        ("run", ("--methods", "krum,sum")),
        ("run", ("--methods", "fixed[w=1:2]")),
        ("tune", ("--methods", "sum,trimmed-mean[trim=2]", "--trials", "2")),
        ("bench", ("--methods", "metabalance[main=3]")),
    ],
)
def test_every_command_refuses_before_it_begins(
    verb: str, options: tuple[str, ...], mtlbench: Command, suite_file: Path, data_dir: Path, tmp_path: Path
) -> None:
    where = ("--output", str(tmp_path / "out")) if verb == "bench" else ("--results", str(tmp_path / "out"))
    done = mtlbench(verb, "--suite", str(suite_file), "--data-dir", str(data_dir), *where, *options)
    assert done.returncode == 2
    assert done.stderr.startswith("mtlbench: method ") and done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("verb", ["run", "tune", "overfit", "bench"])
def test_every_command_tries_the_model_before_it_begins(
    verb: str, mtlbench: Command, suite_file: Path, data_dir: Path, tmp_path: Path
) -> None:
    model = write_folder(tmp_path / "gpt2", "gpt2")
    file = tmp_path / "suite.toml"
    lines = [line for line in suite_file.read_text().splitlines() if not line.startswith("model")]
    file.write_text("\n".join([*lines, f'model = "{model}[pooling=cls]"']))
    done = mtlbench(verb, "--suite", str(file), "--data-dir", str(data_dir))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "pooling=cls would take one word alone" in done.stderr


def test_what_is_lowered_is_said(mtlbench: Command, suite_file: Path, tmp_path: Path) -> None:
    file = tmp_path / "suite.toml"
    file.write_text(suite_file.read_text().replace("max_length = 32", "max_length = 100"))
    done = mtlbench("run", "--dry-run", "--suite", str(file), "--results", str(tmp_path), "--steps", "1")
    told = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 0
    assert "evaluations 2 lowered to 1: one after every step" in told
    assert "max_length 100 lowered to 64: the model has no more positions" in told


def test_a_model_is_tried_once(
    make_workload: Callable[..., Workload], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MTLBENCH_CACHE", str(tmp_path))
    workload = make_workload()
    times: list[Traits] = []

    def tried(*given: object, **named: object) -> Traits:
        times.append(Traits("said so"))
        return times[-1]

    monkeypatch.setattr("mtlbench.text.model_trial._try", tried)
    found = [try_model(workload.problem.encoder, workload.problem.files, 32, pairs=True) for _ in range(3)]
    assert found == [Traits("said so")] * 3 and len(times) == 1
    try_model(workload.problem.encoder, workload.problem.files, 16, pairs=True)
    (entry,) = [file for file in (tmp_path / "models").iterdir() if "said so" in file.read_text()][:1]
    entry.write_text("{")
    assert len(times) == 2
    monkeypatch.setenv("MTLBENCH_CACHE", "")
    try_model(workload.problem.encoder, workload.problem.files, 32, pairs=True)
    assert len(times) == 3
