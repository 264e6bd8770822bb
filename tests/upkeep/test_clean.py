"""Cleaning a results folder: which files are removed, and which stay."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from leftover_files import HOURS_AGO, made

from mtlbench.errors import UsageError
from mtlbench.host.disk import TEMPORARY
from mtlbench.records.leases import Leases
from mtlbench.records.store import CHECKPOINTS, Store
from mtlbench.upkeep.clean import leftovers


def names(results: Path, **options: bool) -> set[str]:
    found = leftovers(results, **{"damaged": False, "failed": False, **options})
    return {leftover.path.relative_to(results).as_posix() for leftover in found}


def test_nothing_of_a_whole_folder_goes(results: Path) -> None:
    assert names(results) == set()


def test_what_killed_runs_left_goes_when_it_is_old(results: Path) -> None:
    method = results / "tiny" / "cagrad_c=0.4"
    half, side = f"{TEMPORARY}7-x", "seed-0-aaaaaaaaaaaa.01234567.history.jsonl"
    made(method / half)
    made(method / side)
    made(method / f"{TEMPORARY}8-x", old=False)
    made(method / "seed-5-cccccccccccc.01234567.history.jsonl", old=False)  # its record may come any moment
    made(method / "notes.txt")
    made(results / "tiny" / "seed-9.01234567.history.jsonl")
    assert names(results) == {f"tiny/cagrad_c=0.4/{half}", f"tiny/cagrad_c=0.4/{side}"}


def test_a_file_from_the_future_is_old(results: Path) -> None:
    path = made(results / f"{TEMPORARY}7-x")
    os.utime(path, (time.time() + 1e6, time.time() + 1e6))
    assert names(results) == {path.name}


def test_checkpoints_go_when_the_cell_is_done_and_nobody_runs_it(results: Path) -> None:
    for key in ("a" * 64, "b" * 64, "c" * 64):
        made(results / CHECKPOINTS / key / "1.safetensors")
    assert names(results) == {f"{CHECKPOINTS}/{'a' * 64}"}  # the failed one, and one without a record, may go on
    lease = Leases(results).claim("a" * 64, "sum seed 0")
    assert names(results) == set()
    assert lease is not None
    lease.release()


def test_only_the_lease_of_a_process_that_is_gone_goes(results: Path) -> None:
    leases = Leases(results)
    leases.claim("d" * 64, "sum seed 0")
    gone = subprocess.Popen(["true"])
    gone.wait()
    leases.claim("e" * 64, "sum seed 0")
    path = results / ".leases" / f"{'e' * 64}.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "pid": gone.pid}))
    elsewhere = results / ".leases" / f"{'f' * 64}.json"
    elsewhere.write_text(json.dumps({"owner": "x", "count": 1, "machine": "far away", "pid": gone.pid}))
    assert names(results) == {f".leases/{path.name}"}


def test_damaged_records_go_only_when_asked_with_all_that_is_theirs(results: Path) -> None:
    (path,) = results.rglob("seed-0-*.json")
    path.write_bytes(path.read_bytes()[:50])
    for beside in path.parent.glob(f"{path.stem}.*"):
        os.utime(beside, (HOURS_AGO, HOURS_AGO))
    assert names(results) == set()
    found = names(results, damaged=True)
    assert {Path(name).suffix for name in found} == {".json", ".jsonl"} and len(found) == 2
    path.rename(path.with_name(f"{path.name}.damaged"))
    assert names(results) == set() and len(names(results, damaged=True)) == 2


def test_failed_records_go_only_when_asked(results: Path) -> None:
    found = names(results, failed=True)
    assert {Path(name).name.split(".")[0] for name in found} == {"seed-1-bbbbbbbbbbbb"} and len(found) == 2


def test_no_link_is_followed(results: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    made(outside / f"{TEMPORARY}7-x")
    made(outside / "seed-0-aaaaaaaaaaaa.01234567.history.jsonl")
    made(outside / "1.safetensors")
    (results / "suite").symlink_to(tmp_path)
    (results / "tiny" / "linked").symlink_to(outside)
    (results / CHECKPOINTS).symlink_to(tmp_path)
    (results / f"{TEMPORARY}link").symlink_to(outside / "1.safetensors")
    assert names(results, damaged=True, failed=False) == set()


def test_clean_removes_only_with_yes(results: Path, mtlbench: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    half = made(results / f"{TEMPORARY}7-x")
    told = mtlbench("clean", "--results", str(results))
    assert told.returncode == 0 and "would remove" in told.stdout and half.exists()
    done = mtlbench("clean", "--results", str(results), "--yes")
    assert done.returncode == 0 and "1 leftovers removed" in done.stdout and not half.exists()
    assert len(Store(results).scan().records) == 2
    with pytest.raises(UsageError, match="does not exist"):
        leftovers(results / "gone", damaged=False, failed=False)
