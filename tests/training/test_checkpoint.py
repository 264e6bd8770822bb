"""Resuming: every method and engine goes on from a checkpoint, in a file, with the bits of a run without a stop."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mtlbench.engine.packed.strategy import Strategy
from mtlbench.engine.scaling import LossScale
from mtlbench.host.disk import TEMPORARY
from mtlbench.host.provenance import versions
from mtlbench.plan.cells import Workload
from mtlbench.plugins.registry import load_registry
from mtlbench.problem.weights import state_fingerprint
from mtlbench.text import engines
from mtlbench.training import checkpoint as checkpoint_module
from mtlbench.training.checkpoint import Checkpoints
from mtlbench.training.result import CellResult
from mtlbench.training.state_codec import NotStorable
from mtlbench.training.train import Training

Make = Callable[..., Workload]
KEY = "k" * 64


def fail(line: str) -> None:
    raise AssertionError(line)


def checkpoints(folder: Path, key: str = KEY, **changes: Any) -> Checkpoints:
    return Checkpoints(folder, key, **{"every": 1.0, "tell": fail, **changes})


def begin(workload: Workload, method: str) -> Training:
    return Training(workload, load_registry().method(method), 3)


def left_behind(outcome: CellResult, weights: str) -> dict[str, Any]:
    """Return everything that must be the same, bit for bit: all but times."""
    rows = [{k: v for k, v in row.items() if k not in ("seconds", "elapsed")} for row in outcome.history]
    arrays = {
        f"{name} {split}": {task: found.tobytes() for task, found in by_task.items()}
        for name in ("outputs", "labels")
        for split, by_task in getattr(outcome, name).items()
    }
    same = {name: getattr(outcome, name) for name in ("scores", "pairing", "conflict", "size", "engine", "cut", "seen")}
    return {"weights": weights, "history": rows, **arrays, **same}


def finish(training: Training, keep: Callable[[int], None] = lambda done: None) -> dict[str, Any]:
    weights = ""
    for done in training.run():
        weights = state_fingerprint(training.state_dict()["current"]["model"].values())
        keep(done)
    return left_behind(training.result(), weights)


def assert_resumes(workload: Workload, method: str, folder: Path, *stops: int) -> None:
    """Train a cell, keeping checkpoints after some steps; then once more from each, with everything made anew."""
    training = begin(workload, method)

    def keep(done: int) -> None:
        if done in stops:
            checkpoints(folder / str(done)).save(done, training.state_dict)

    expected = finish(training, keep)
    for stop in stops:
        training = begin(workload, method)
        training.load_state_dict(checkpoints(folder / str(stop)).newest())
        assert training.done == stop and sum("losses" in row for row in training.result().history) == stop
        assert finish(training) == expected


@pytest.fixture(autouse=True)
def folders(tmp_path: Path) -> None:
    """The folders that checkpoints lie in, as the store makes the results folder."""
    for name in ("1", "2", "3", "4", "5"):
        (tmp_path / name).mkdir()


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Train with one thread, as cells do, and leave torch's settings as they were: a cell's process has its own."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


def tasks_for(method: str, tasks: tuple[str, ...]) -> tuple[str, ...]:
    """Return the tasks, and one more for methods that need four."""
    more = tasks[0].replace("mood", "temper", 1)
    return (*tasks, more) if load_registry().method(method).min_tasks > len(tasks) else tasks


@pytest.mark.parametrize("method", load_registry().catalogue())
def test_every_method_resumes_with_the_bits_of_an_undisturbed_run(
    make_workload: Make, tmp_path: Path, method: str
) -> None:
    tasks = tasks_for(method, make_workload().recipe.tasks)
    assert_resumes(make_workload(steps=3, evaluations=1, measure_every=3, tasks=tasks), method, tmp_path, 2)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("engine", ["packed", "lean", "two passes", "loop"])
def test_every_engine_resumes(
    make_workload: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str, precision: str
) -> None:
    if engine == "two passes":
        engine = "lean"
        monkeypatch.setattr(Strategy, "choose", lambda *_: Strategy(lean=True, keeps=False, portion=1))
    assert_resumes(make_workload(steps=3, engine=engine, precision=precision), "pcgrad", tmp_path, 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"accumulate": 2, "engine": "packed"},
        {"checkpointing": True},
        {"update_norm": "sum"},
        {"lr_schedule": "linear"},
        {"model": "frozen=true"},
        {"model": "adapter=lora,dropout=0.2"},
        {"model": "adapter=lora,targets=query/value", "engine": "loop"},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_every_option_resumes(make_workload: Make, tmp_path: Path, tiny_bert: Path, changes: dict[str, Any]) -> None:
    if "model" in changes:
        changes = {**changes, "model": f"{tiny_bert}[layers=1,{changes['model']}]"}
    assert_resumes(make_workload(**changes), "pcgrad", tmp_path, 2)


def test_the_loss_scale_goes_on(make_workload: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "LossScale", lambda: LossScale(2.0**24))
    workload = make_workload(precision="float16", steps=5, evaluations=1)
    training = begin(workload, "gradnorm")
    finish(training)
    skipped = [row.get("skipped", False) for row in training.result().history if "losses" in row]
    assert skipped[:2] == [True, True]  # so that the scale and its counts differ from the first ones
    assert_resumes(workload, "gradnorm", tmp_path, 1, 2, 4)


def test_single_task_training_resumes_within_and_between_its_models(make_workload: Make, tmp_path: Path) -> None:
    assert_resumes(make_workload(steps=2, evaluations=1), "stl", tmp_path, 1, 2, 3, 5)


# The files


def state(value: float) -> Callable[[], Any]:
    return lambda: {"weights": torch.full((3, 5), value), "step": int(value)}


def step_of(found: Any) -> int | None:
    return None if found is None else int(found["step"])


def written(folder: Path, *steps: int, **changes: Any) -> list[Path]:
    """Write checkpoints, and return those that are there, the newest first."""
    for step in steps:
        checkpoints(folder, **changes).save(step, state(step))
    return sorted((folder / KEY).iterdir(), reverse=True)


def test_the_last_two_are_kept_and_all_are_cleared(tmp_path: Path) -> None:
    names = [path.name for path in written(tmp_path, 5, 10, 20)]
    assert [name[:10] for name in names] == ["000000020-", "000000010-"]
    assert step_of(checkpoints(tmp_path).newest()) == 20
    checkpoints(tmp_path).clear()
    assert checkpoints(tmp_path).newest() is None and not (tmp_path / KEY).exists()
    checkpoints(tmp_path).clear()


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 4
    path.write_bytes(content)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def renamed(path: Path, content: bytes) -> None:
    """Replace a checkpoint by a file whose name does hold the hash of its content."""
    path.unlink()
    path.with_name(f"{path.name[:10]}{hashlib.sha256(content).hexdigest()}.safetensors").write_bytes(content)


def nonsense(path: Path) -> None:
    renamed(path, b"nonsense")


def another_schema(path: Path) -> None:
    renamed(path, path.read_bytes().replace(rb"{\"schema\": 2", rb"{\"schema\": 9"))


def of_another_cell(path: Path) -> None:
    renamed(path, path.read_bytes().replace(b"kkkk", b"mmmm"))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (torn, "torn, or changed since it was written"),
        (flipped, "torn, or changed since it was written"),
        (emptied, "torn, or changed since it was written"),
        (nonsense, "not a checkpoint: "),
        (another_schema, "schema 9; this mtlbench reads schema 2"),
        (of_another_cell, "of another cell, mmmm"),
    ],
)
def test_a_damaged_newest_is_named_and_removed_and_the_one_before_is_used(
    tmp_path: Path, damage: Callable[[Path], None], reason: str
) -> None:
    damage(written(tmp_path, 10, 20)[0])
    lines: list[str] = []
    assert step_of(checkpoints(tmp_path, tell=lines.append).newest()) == 10
    (line,) = lines
    assert line.startswith("checkpoint 000000020-") and reason in line and "\n" not in line
    assert [path.name[:9] for path in (tmp_path / KEY).iterdir()] == ["000000010"]


def test_all_damaged_is_a_beginning_anew(tmp_path: Path) -> None:
    for path in written(tmp_path, 10, 20):
        torn(path)
    lines: list[str] = []
    assert checkpoints(tmp_path, tell=lines.append).newest() is None and len(lines) == 2


def test_one_that_vanishes_while_it_is_looked_at_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = written(tmp_path, 10, 20)[0]
    seen = Checkpoints._files
    monkeypatch.setattr(Checkpoints, "_files", lambda self: [newest, *(p for p in seen(self) if p != newest)])
    newest.unlink()
    lines: list[str] = []
    assert step_of(checkpoints(tmp_path, tell=lines.append).newest()) == 10 and "No such file" in lines[0]


def test_other_versions_of_a_library_are_no_continuation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, 10)
    monkeypatch.setattr(checkpoint_module, "versions", lambda further: {**versions(further), "torch": "99"})
    lines: list[str] = []
    assert checkpoints(tmp_path, tell=lines.append).newest() is None
    assert re.search(r"made with torch \S+, not 99$", lines[0])


def test_the_step_decides_which_is_the_newest_whatever_the_clocks_say(tmp_path: Path) -> None:
    for age, path in enumerate(written(tmp_path, 10, 20)):
        os.utime(path, (1e9 + 1e6 * age,) * 2)  # the newest looks older: the clock was set back between them
    assert step_of(checkpoints(tmp_path).newest()) == 20
    assert [path.name[:9] for path in written(tmp_path, 30)] == ["000000030", "000000020"]


def test_a_writer_that_dies_or_fails_leaves_those_before_and_its_half_file_goes_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, 10, 20)
    (tmp_path / KEY / f"{TEMPORARY}77-x").write_bytes(b"half")

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(OSError, match="No space left"):
            checkpoints(tmp_path).save(30, state(30))
    assert step_of(checkpoints(tmp_path).newest()) == 20
    assert [path.name[:9] for path in written(tmp_path, 30)] == ["000000030", "000000020"]


def test_what_cannot_be_stored_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotStorable, match=r"^state\['method'\]\['rows'\]\[1\] is a builtins.object, which"):
        checkpoints(tmp_path).save(1, lambda: {"method": {"rows": [1, object()]}})


def test_a_link_is_not_followed_and_a_removed_folder_not_made_again(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / KEY).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="is a link"):
        checkpoints(tmp_path).save(1, state(1))
    checkpoints(tmp_path).clear()
    assert checkpoints(tmp_path).newest() is None and (tmp_path / "elsewhere").exists()
    with pytest.raises(FileNotFoundError):
        checkpoints(tmp_path / "gone" / ".checkpoints").save(1, state(1))


def test_writing_takes_three_percent_of_the_time_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    kept = checkpoints(tmp_path, every=300.0)

    def slow() -> Any:
        now[0] += 30.0
        return {}

    now[0] = 299.0
    assert not kept.due(stopping=False) and kept.due(stopping=True)
    now[0] = 300.0
    assert kept.due(stopping=False)
    kept.save(1, lambda: {})
    now[0] = 600.0
    assert kept.due(stopping=False)
    kept.save(2, slow)
    now[0] = 630.0 + 999.0
    assert not kept.due(stopping=False)
    now[0] = 630.0 + 1000.0
    assert kept.due(stopping=False)


def test_no_interval_is_no_checkpoints(tmp_path: Path) -> None:
    written(tmp_path, 10)
    none = checkpoints(tmp_path, every=0.0)
    assert none.newest() is None and not none.due(stopping=True)
