"""Full disks, folders that cannot be written to or are removed: one clear line, and what is finished stays whole."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from launches import Launcher

from benchmarks.sample_record import history, record
from mtlbench.host.disk import TEMPORARY
from mtlbench.records.store import NotRecorded, Store

FILE_LIMIT = 2500
"""Bytes: a lease fits in a file of these, a record does not."""


@pytest.fixture(scope="module")
def full_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system with no room at all but for names; skips where this user may not mount one."""
    folder = tmp_path_factory.mktemp("disk")
    if (
        os.geteuid()
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_keeps_the_old_record_and_leaves_nothing_half_written(full_disk: Path) -> None:
    store = Store(full_disk / "results")
    store.prepare()
    store.save({**record(), "scores": {"a": {"accuracy": 1.0}}}, history({"step": 1}))
    with pytest.raises(NotRecorded, match=r"cannot be written to .*: No space left on device"):
        store.save({**record(), "scores": {"a": {"accuracy": 2.0}}}, {"log": ("txt", b"x" * 100_000)})
    found = store.scan()
    assert not found.damaged and found.records[0]["scores"] == {"a": {"accuracy": 1.0}}
    assert not list(full_disk.rglob(f"{TEMPORARY}*"))


def test_a_removed_folder_is_not_made_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    store.prepare()
    shutil.rmtree(store.folder)
    with pytest.raises(NotRecorded, match="the folder is gone"):
        store.save(record(), {})
    assert not store.folder.exists()


def test_a_link_in_the_place_of_a_suite_is_not_written_through(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    store.prepare()
    (tmp_path / "outside").mkdir()
    (store.folder / "tiny").symlink_to(tmp_path / "outside")
    with pytest.raises(NotRecorded, match="is a link"):
        store.save(record(), {})
    assert not list((tmp_path / "outside").iterdir())


def test_a_file_in_the_place_of_a_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "tiny").write_text("")
    with pytest.raises(NotRecorded, match="File exists"):
        Store(tmp_path).save(record(), {})


def test_a_grid_on_a_full_disk_says_which_cells_are_not_recorded(
    tmp_path: Path,
    data_dir: Path,
    suite_file: Path,
    mtlbench: Callable[..., subprocess.CompletedProcess[str]],
    launch: Launcher,
) -> None:
    results = tmp_path / "results"
    kept = mtlbench("run", "--methods", "sum", "--seeds", "1", "--results", str(results))
    assert kept.returncode == 0, kept.stderr
    before = {path: path.read_bytes() for path in results.rglob("*.json")}
    tiny = ("--suite", suite_file, "--data-dir", data_dir, "--results", results)
    process = launch("run", *tiny, "--methods", "sum,pcgrad", "--seeds", "1", largest_file=FILE_LIMIT)
    errors = process.communicate()
    assert process.returncode == 1 and "Traceback" not in errors
    assert "failed pcgrad seed 0: not recorded: its record cannot be written" in errors
    assert "File too large" in errors and "0 done, 1 failed" in errors
    assert {path: path.read_bytes() for path in results.rglob("*.json")} == before


def test_a_folder_that_is_removed_meanwhile_fails_the_cells_in_one_line_each(
    tmp_path: Path, data_dir: Path, suite_file: Path, launch: Launcher
) -> None:
    results = tmp_path / "results"
    tiny = ("--suite", suite_file, "--data-dir", data_dir, "--results", results, "--steps", "40", "--jobs", "1")
    process = launch("run", *tiny, "--methods", "sum,pcgrad", "--seeds", "1")
    deadline = time.monotonic() + 120.0
    while not list(results.glob(".leases/*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    shutil.rmtree(results)
    errors = process.communicate()
    assert process.returncode == 1 and "Traceback" not in errors
    assert "failed sum seed 0: " in errors and "failed pcgrad seed 0: " in errors and "0 done, 2 failed" in errors
    assert not results.exists()
