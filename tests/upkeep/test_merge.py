"""Merging results folders: copied records, chosen records, and conflicts between two machines."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.sample_record import history, record
from mtlbench.errors import UsageError
from mtlbench.records.store import Store
from mtlbench.upkeep.merge import CONFLICTS, merge


def scored(accuracy: float, seed: int = 0, **changes: Any) -> dict[str, Any]:
    return {**record(seed, key=f"{seed:064d}"), "scores": {"a": {"accuracy": accuracy}}, **changes}


def fill(folder: Path, *records: dict[str, Any]) -> Path:
    store = Store(folder)
    store.prepare()
    for one in records:
        store.save(one, history({"step": 1, "of": str(folder)}))
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_records_come_with_their_side_files_byte_for_byte(tmp_path: Path) -> None:
    a, b = fill(tmp_path / "a", scored(0.5, 0)), fill(tmp_path / "b", scored(0.6, 1))
    done = merge([a, b], tmp_path / "c")
    assert files(tmp_path / "c") == {**files(a), **files(b)}
    assert (len(done.copied), done.present, done.conflicts, done.left) == (2, 0, [], [])


def test_a_second_merge_changes_nothing(tmp_path: Path) -> None:
    a, b = fill(tmp_path / "a", scored(0.5), scored(0.5, 1)), fill(tmp_path / "b", scored(0.6))
    merge([a, b], tmp_path / "c")
    before = files(tmp_path / "c")
    again = merge([a, b], tmp_path / "c")
    assert files(tmp_path / "c") == before and not again.copied
    assert len(again.conflicts) == 1  # still a finding


def test_a_dry_run_writes_nothing_and_says_the_same(tmp_path: Path) -> None:
    a, b = fill(tmp_path / "a", scored(0.5), scored(0.5, 1)), fill(tmp_path / "b", scored(0.6))
    told = merge([a, b], tmp_path / "c", dry_run=True)
    assert not (tmp_path / "c").exists()
    done = merge([a, b], tmp_path / "c")
    assert [path for path, _ in told.copied] == [path for path, _ in done.copied]
    assert len(told.conflicts) == len(done.conflicts) == 1


@pytest.mark.parametrize("order", [1, -1])
def test_done_wins_over_failed_in_any_order(tmp_path: Path, order: int) -> None:
    failed = {**record(status="failed", key="0" * 64), "started": "2025-01-01T00:00:00Z"}
    folders = [fill(tmp_path / "a", failed), fill(tmp_path / "b", scored(0.5))][::order]
    done = merge(folders, tmp_path / "c")
    assert Store(tmp_path / "c").scan().status() == {"0" * 64: "done"} and not done.conflicts
    assert len(list((tmp_path / "c").rglob("*.jsonl"))) == 1  # the failed one's history went with it


@pytest.mark.parametrize("order", [1, -1])
def test_of_equal_scores_the_older_is_kept(tmp_path: Path, order: int) -> None:
    old, new = "2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z"
    folders = [fill(tmp_path / "a", scored(0.5, started=old)), fill(tmp_path / "b", scored(0.5, started=new))][::order]
    assert not merge(folders, tmp_path / "c").conflicts
    assert [one["started"] for one in Store(tmp_path / "c").scan().records] == [old]


@pytest.mark.parametrize("order", [1, -1])
def test_different_scores_are_told_and_both_kept(tmp_path: Path, order: int) -> None:
    old = scored(0.5, started="2025-01-01T00:00:00Z", environment={"machine": {"processor": "one"}})
    new = scored(0.6, started="2026-01-01T00:00:00Z", environment={"machine": {"processor": "two"}})
    folders = [fill(tmp_path / "a", old), fill(tmp_path / "b", new)][::order]
    (line,) = merge(folders, tmp_path / "c").conflicts
    assert "cagrad[c=0.4] seed 0 (000000000000) has different scores" in line
    assert "a accuracy 0.5 and 0.6" in line and "processor one and two" in line
    assert [one["started"][:4] for one in Store(tmp_path / "c").scan().records] == ["2025"]
    aside = Store(tmp_path / "c" / CONFLICTS).scan()
    assert [one["started"][:4] for one in aside.records] == ["2026"] and not aside.damaged


def test_what_is_damaged_is_named_and_left(tmp_path: Path) -> None:
    a = fill(tmp_path / "a", scored(0.5, 0), scored(0.5, 1), scored(0.5, 2))
    torn, changed = sorted(a.rglob("*.json"))[:2]
    torn.write_bytes(torn.read_bytes()[:50])
    beside = next(changed.parent.glob(f"{changed.stem}.*.jsonl"))
    beside.write_bytes(beside.read_bytes().replace(b"1", b"2", 1))  # of the same size: only its hash tells
    before = files(a)
    done = merge([a], tmp_path / "c")
    assert {path for path, _ in done.left} == {str(torn), str(changed)} and files(a) == before
    assert [one["seed"] for one in Store(tmp_path / "c").scan().records] == [2]


def test_a_cell_of_a_suite_under_another_name_is_one_cell(tmp_path: Path) -> None:
    failed = {**record(status="failed", key="0" * 64), "suite": "other"}
    into = fill(tmp_path / "c", failed)
    merge([fill(tmp_path / "a", scored(0.5))], into)
    assert [one["suite"] for one in Store(into).scan().records] == ["tiny"]
    assert len([path for path in into.rglob("*") if path.is_file()]) == 2


def test_the_target_may_be_one_of_the_sources(tmp_path: Path) -> None:
    a, b = fill(tmp_path / "a", scored(0.5, 0)), fill(tmp_path / "b", scored(0.5, 1))
    assert len(merge([a, b], a).copied) == 1
    with pytest.raises(UsageError, match="gone does not exist"):
        merge([tmp_path / "gone"], a)


def test_merged_copies_need_no_cache_of_their_source(tmp_path: Path) -> None:
    a = fill(tmp_path / "a", scored(0.5))
    merge([a], tmp_path / "c")
    shutil.rmtree(a)
    assert len(Store(tmp_path / "c").scan().records) == 1


def test_the_command_says_what_it_did(
    tmp_path: Path, mtlbench: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    a, b = fill(tmp_path / "a", scored(0.5)), fill(tmp_path / "b", scored(0.6, started="2026-02-01T00:00:00Z"))
    done = mtlbench("merge", str(a), str(b), "--into", str(tmp_path / "c"))
    assert done.returncode == 1 and "DIFFERENT SCORES: cagrad[c=0.4] seed 0" in done.stdout
    assert "1 copied, 1 there already, 0 damaged, 1 conflicts" in done.stdout
    assert mtlbench("merge", str(a), "--into", str(tmp_path / "d")).returncode == 0
    gone = mtlbench("merge", str(tmp_path / "gone"), "--into", str(tmp_path / "d"))
    assert gone.returncode == 2 and "does not exist" in gone.stderr
    assert json.loads(mtlbench("status", "--results", str(tmp_path / "c"), "--json").stdout)["cells"][0]["seed"] == 0
