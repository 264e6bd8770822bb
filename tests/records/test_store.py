"""The store under faults: cut-off files, changed records, killed writers."""

from __future__ import annotations

import math
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from benchmarks.sample_record import EVALUATION, STEP, history, record
from mtlbench.errors import UsageError
from mtlbench.host.disk import TEMPORARY
from mtlbench.records.record_file import read_history, read_record
from mtlbench.records.store import Store


def test_a_record_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    path = Store(tmp_path).save(record(), history(STEP))
    assert path.relative_to(tmp_path).as_posix() == "tiny/cagrad_c=0.4/seed-0-aaaaaaaaaaaa.json"
    found = Store(tmp_path).scan()
    assert [entry["key"] for entry in found.records] == ["a" * 64] and not found.damaged
    assert list(read_history(found.records[0])) == [STEP]


def test_a_new_record_replaces_the_old_one_and_its_side_files(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.save(record(status="failed"), {"log": ("txt", b"trace")})
    path = store.save(record(), history(STEP))
    assert store.scan().status() == {"a" * 64: "done"}
    assert sorted(file.suffix for file in path.parent.iterdir()) == [".json", ".jsonl"]


@pytest.mark.parametrize(
    "change",
    [
        {"step": "1"},
        {"losses": {"a": 10**400}},
        {"losses": None},
        {"losses": {"b": 1.0}},
        {"norms": {"b": 1.0}},
        {"cosines": {"a|b": 0.5}},
        {"scores": {}},
        {"moved": [1.0]},
    ],
    ids=str,
)
def test_a_history_of_another_form_is_not_believed(tmp_path: Path, change: dict[str, Any]) -> None:
    """Found by fuzzing: a loss of 400 digits, which no float holds, ended the report with a traceback."""
    Store(tmp_path).save(record(), history(STEP, {**STEP, **change}))
    with pytest.raises(ValueError, match="not the form of a history"):
        list(read_history(Store(tmp_path).scan().records[0]))


@pytest.mark.parametrize(
    "change",
    [
        {"cost": {"seconds_per_step": 0.1, "peak_memory_bytes": 10**400}},
        {"cost": {"seconds_per_step": 10**400, "peak_memory_bytes": None}},
        {"cut": {"a": [1]}},
        {"seen": {"a": 2**63}},
        {"test_scores": {"a": {"f1": 0.5}}},
    ],
    ids=str,
)
def test_a_record_of_another_form_is_not_believed(tmp_path: Path, change: dict[str, Any]) -> None:
    """Found by fuzzing: a memory of 400 digits ended the report with a traceback, and so did a list in ``cut``."""
    store = Store(tmp_path)
    store.save({**record(), **change}, {})
    found = store.scan()
    assert not found.records and "not the form of a record" in found.damaged[0][1]


def test_a_history_may_hold_numbers_that_are_not_finite(tmp_path: Path) -> None:
    Store(tmp_path).save(record(), history({**STEP, "losses": {"a": math.inf}, "norms": {"a": None}}))
    assert [row["losses"] for row in read_history(Store(tmp_path).scan().records[0])] == [{"a": math.inf}]


@pytest.mark.parametrize("keep", [0, 1, 0.5, 0.99])
def test_a_record_cut_off_anywhere_is_named_and_the_others_are_read(tmp_path: Path, keep: float) -> None:
    store = Store(tmp_path)
    path = store.save(record(), {})
    store.save(record(seed=1, key="b" * 64), {})
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep) if keep < 1 else 1])
    found = store.scan()
    assert [entry["seed"] for entry in found.records] == [1]
    assert [(file, "\n" in why) for file, why in found.damaged] == [(str(path), False)]


def test_a_changed_score_is_damage(tmp_path: Path) -> None:
    path = Store(tmp_path).save({**record(), "scores": {"a": {"accuracy": 0.5}}}, {})
    path.write_text(path.read_text().replace("0.5", "0.9"))
    with pytest.raises(ValueError, match="checksum"):
        read_record(path)


@pytest.mark.parametrize("fault", ["missing", "cut"])
def test_a_side_file_that_is_not_whole_is_damage(tmp_path: Path, fault: str) -> None:
    path = Store(tmp_path).save(record(), history(STEP, EVALUATION))
    beside = next(path.parent.glob("*.jsonl"))
    beside.unlink() if fault == "missing" else beside.write_bytes(beside.read_bytes()[:5])
    with pytest.raises(ValueError, match="history file"):
        read_record(path)


def test_a_newer_schema_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tiny" / "sum" / "seed-0-x.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"schema": 99}')
    assert Store(tmp_path).scan().damaged == [(str(path), "record schema 99; this mtlbench reads schema 1")]


@pytest.mark.parametrize("moment", ["first file", "before the record", "before the rename"])
def test_a_writer_killed_at_any_moment_leaves_the_old_record_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    store = Store(tmp_path)
    store.save({**record(), "scores": {"a": {"accuracy": 1.0}}}, history(STEP))
    real, calls = Path.replace, []

    def killed(source: Path, target: Path) -> Path:
        calls.append(target)
        stop = {"first file": 1, "before the record": 2, "before the rename": 2}[moment]
        if len(calls) == stop:
            raise KeyboardInterrupt
        return real(source, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        store.save({**record(), "scores": {"a": {"accuracy": 2.0}}}, history(STEP, EVALUATION))
    monkeypatch.undo()
    found = store.scan()
    assert not found.damaged and found.records[0]["scores"] == {"a": {"accuracy": 1.0}}
    assert list(read_history(found.records[0])) == [STEP]


def test_folders_merge_by_copying(tmp_path: Path) -> None:
    import shutil

    for name in ("one", "two"):
        Store(tmp_path / name).prepare()
    Store(tmp_path / "one").save(record(seed=0), history(STEP))
    Store(tmp_path / "two").save(record(seed=1, key="b" * 64), history(STEP))
    shutil.copytree(tmp_path / "one", tmp_path / "two", dirs_exist_ok=True)
    found = Store(tmp_path / "two").scan()
    assert {entry["seed"] for entry in found.records} == {0, 1} and not found.damaged


def test_prepare_clears_old_leftovers_only(tmp_path: Path) -> None:
    old, young = tmp_path / f"{TEMPORARY}1-x", tmp_path / f"{TEMPORARY}2-x"
    old.write_bytes(b"")
    young.write_bytes(b"")
    os.utime(old, (1.0, 1.0))
    Store(tmp_path).prepare()
    assert not old.exists() and young.exists()


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot write to results folder .*; give --results FOLDER"):
        Store(tmp_path / "file").prepare()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_one_line(tmp_path: Path) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(UsageError, match="cannot write"):
        Store(tmp_path).prepare()
