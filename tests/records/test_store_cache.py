"""The cache of records must never be seen: a scan with it returns what a scan without it returns."""

from __future__ import annotations

import json
import os
import random
import shutil
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.sample_record import history, record
from mtlbench.plan.cells import fingerprint
from mtlbench.records import store_cache
from mtlbench.records.store import Store
from mtlbench.records.store_cache import CACHE_FOLDER

SETTLED_SECONDS = 0.05
"""Longer than a tick of any file system that tests run on."""


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cache any number of records, as soon as they cannot change within the clock's tick."""
    monkeypatch.setattr(store_cache, "FEWEST", 1)
    monkeypatch.setattr(store_cache, "SETTLED_NS", int(SETTLED_SECONDS * 1e9))


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count in the first entry how many record files are parsed and verified anew."""
    from mtlbench.records import store

    counted, real = [0], store.verified

    def verified(content: bytes) -> Any:
        counted[0] += 1
        return real(content)

    monkeypatch.setattr(store, "verified", verified)
    return counted


def scored(seed: int, accuracy: float) -> dict[str, Any]:
    return {**record(seed, key=f"{seed:064d}"), "scores": {"a": {"accuracy": accuracy}}}


def fill(folder: Path, count: int = 6) -> list[Path]:
    Store(folder).prepare()
    paths = [
        Store(folder).save(
            {**record(seed, key=f"{seed:064d}"), "scores": {"a": {"accuracy": 0.5}}}, history({"step": seed})
        )
        for seed in range(count)
    ]
    time.sleep(2 * SETTLED_SECONDS)
    return paths


def plain(folder: Path, aside: Path) -> Any:
    """Scan without the cache, which is put aside meanwhile."""
    cache = folder / CACHE_FOLDER
    there = cache.exists()
    if there:
        cache.rename(aside)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_cache, "FEWEST", 10**9)
        found = Store(folder).scan()
    assert not cache.exists()
    if there:
        aside.rename(cache)
    return found


def rewrite(path: Path, random: random.Random) -> None:
    """Change a score to another of the same length and keep the modification time: only the inode tells."""
    before = path.stat()
    try:
        content = json.loads(path.read_bytes())
    except ValueError:  # an earlier edit damaged it
        return
    content["scores"] = {"a": round(random.uniform(0.1, 0.8), 1) + 0.01}
    del content["checksum"]
    content["checksum"] = fingerprint(content)
    path.write_text(json.dumps(content, indent=1))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def flip(path: Path, random: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    path.write_bytes(content)


def cut(path: Path, random: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: random.randrange(40)])


def cut_side_file(path: Path, random: random.Random) -> None:
    next(path.parent.glob(f"{path.stem}.*.jsonl")).write_bytes(b"")


def remove(path: Path, random: random.Random) -> None:
    path.unlink()


def replace(path: Path, random: random.Random) -> None:
    seed = int(path.name.split("-")[1])
    row = {"step": random.randrange(9)}
    Store(path.parents[2]).save(
        {**record(seed, key=f"{seed:064d}"), "scores": {"a": {"accuracy": random.random()}}}, history(row)
    )


def copy_over(path: Path, random: random.Random) -> None:
    shutil.copy2(random.choice([other for other in path.parent.glob("*.json") if other != path]), path)


EDITS: list[Callable[[Path, random.Random], None]] = [
    rewrite,
    flip,
    cut,
    cut_side_file,
    remove,
    replace,
    copy_over,
]


@pytest.mark.parametrize("seed", range(6))
def test_a_scan_with_the_cache_is_a_scan_without_it(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    folder = tmp_path / "results"
    paths = fill(folder)
    for _ in range(8):
        for path in chance.sample(paths, k=2):
            if path.exists():
                chance.choice(EDITS)(path, chance)
        if chance.random() < 0.4 and (cache := folder / CACHE_FOLDER / "records").exists():
            flip(cache, chance)
        if chance.random() < 0.5:  # otherwise the next edits follow within the clock's tick, perhaps
            time.sleep(2 * SETTLED_SECONDS)
        expected = plain(folder, tmp_path / "aside")
        assert Store(folder).scan() == expected
        assert Store(folder).scan() == expected


def test_what_did_not_change_is_not_read_again(tmp_path: Path, read: list[int]) -> None:
    paths = fill(tmp_path)
    first = Store(tmp_path).scan()
    assert Store(tmp_path).scan() == first and read == [6]
    rewrite(paths[0], random.Random(0))
    assert Store(tmp_path).scan() != first and read == [7]


def test_a_record_that_was_written_just_now_is_not_trusted(tmp_path: Path, read: list[int]) -> None:
    Store(tmp_path).save(record(), {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_cache, "SETTLED_NS", 10**12)
        for _ in range(2):
            Store(tmp_path).scan()
    assert read == [2]


def test_a_record_that_is_gone_leaves_the_cache(tmp_path: Path) -> None:
    paths = fill(tmp_path)
    Store(tmp_path).scan()
    size = (tmp_path / CACHE_FOLDER / "records").stat().st_size
    for path in paths[1:]:
        path.unlink()
    assert len(Store(tmp_path).scan().records) == 1
    assert (tmp_path / CACHE_FOLDER / "records").stat().st_size < size


@pytest.mark.parametrize("content", [b"", b"x" * 1000, b"PAR1"])
def test_a_foreign_cache_file_is_replaced(tmp_path: Path, read: list[int], content: bytes) -> None:
    fill(tmp_path)
    file = tmp_path / CACHE_FOLDER / "records"
    file.parent.mkdir()
    file.write_bytes(content)
    for _ in range(2):
        assert len(Store(tmp_path).scan().records) == 6
    assert read == [6]


def test_a_cache_of_another_form_is_not_read(tmp_path: Path, read: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path)
    Store(tmp_path).scan()
    monkeypatch.setattr(store_cache, "FORM", b"another form")
    assert len(Store(tmp_path).scan().records) == 6 and read == [12]


def test_a_cache_that_was_copied_along_matches_nothing(tmp_path: Path, read: list[int]) -> None:
    fill(tmp_path / "one")
    Store(tmp_path / "one").scan()
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    assert (tmp_path / "two" / CACHE_FOLDER / "records").exists()
    assert len(Store(tmp_path / "two").scan().records) == 6 and read == [12]


def test_a_small_folder_gets_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_cache, "FEWEST", 7)
    fill(tmp_path)
    Store(tmp_path).scan()
    assert not (tmp_path / CACHE_FOLDER).exists()


def test_a_folder_that_cannot_hold_a_cache_is_read_without(tmp_path: Path, read: list[int]) -> None:
    fill(tmp_path)
    (tmp_path / CACHE_FOLDER).write_text("in the way")
    for _ in range(2):
        assert len(Store(tmp_path).scan().records) == 6
    assert read == [12]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_read_without(tmp_path: Path) -> None:
    fill(tmp_path)
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    assert len(Store(tmp_path).scan().records) == 6 and not (tmp_path / CACHE_FOLDER).exists()


def test_the_state_changes_with_the_records(tmp_path: Path) -> None:
    paths = fill(tmp_path)
    before = Store(tmp_path).state()
    assert Store(tmp_path).state() == before
    rewrite(paths[0], random.Random(1))
    assert Store(tmp_path).state() != before
