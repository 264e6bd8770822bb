"""Leases: one holder at a time, whatever clocks, crashes and other launchers do."""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mtlbench.execute.heartbeat import Heartbeat
from mtlbench.records.leases import SIZE, FolderRemoved, Lease, LeaseLost, Leases, holders

KEY = "a" * 64


def claim(folder: Path, patience: float = 60.0) -> Lease:
    lease = Leases(folder, patience).claim(KEY, "sum seed 0")
    assert lease is not None
    return lease


def rewrite(lease: Lease, **changes: object) -> None:
    """Change what a lease says of its holder."""
    fields = {**json.loads(lease.path.read_bytes()), **changes}
    lease.path.write_bytes(json.dumps(fields).encode().ljust(SIZE))


def test_a_lease_has_one_holder_until_it_is_released(tmp_path: Path) -> None:
    lease = claim(tmp_path)
    assert Leases(tmp_path).claim(KEY, "") is None
    assert Leases(tmp_path).claim("b" * 64, "") is not None
    lease.release()
    assert claim(tmp_path).owner != lease.owner


def claim_at_once(watchers: list[Leases], key: str) -> list[Lease]:
    """Have every watcher claim one lease at the same time; return what they got."""
    start = threading.Barrier(len(watchers))

    def grab(watcher: Leases) -> Lease | None:
        start.wait()
        return watcher.claim(key, "")

    with ThreadPoolExecutor(len(watchers)) as pool:
        return [lease for lease in pool.map(grab, watchers) if lease is not None]


def test_of_many_at_once_one_gets_the_lease(tmp_path: Path) -> None:
    for number in range(50):
        assert len(claim_at_once([Leases(tmp_path) for _ in range(8)], f"{number:064d}")) == 1


def test_of_many_watchers_of_a_dead_lease_one_takes_it_over(tmp_path: Path) -> None:
    for number in range(50):
        key = f"{number:064d}"
        (dead,) = claim_at_once([Leases(tmp_path)], key)
        rewrite(dead, machine="elsewhere")
        watchers = [Leases(tmp_path, patience=0.0) for _ in range(6)]
        assert claim_at_once(watchers, key) == []  # the first look can only remember
        taken = claim_at_once(watchers, key)
        assert taken  # and of two who overlap, the later keeps it
        holding = [lease for lease in taken if _holds(lease)]
        assert len(holding) == 1
        assert not _holds(dead)


def _holds(lease: Lease) -> bool:
    try:
        lease.renew()
    except LeaseLost:
        return False
    return True


def test_a_living_lease_of_another_machine_is_left_alone(tmp_path: Path) -> None:
    lease = claim(tmp_path)
    rewrite(lease, machine="elsewhere")
    watcher = Leases(tmp_path, patience=0.05)
    for _ in range(5):
        assert watcher.claim(KEY, "") is None
        time.sleep(0.06)
        lease.renew()


def test_no_clock_but_the_watchers_own_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = claim(tmp_path)
    rewrite(lease, machine="elsewhere", since="2099-01-01T00:00:00Z")
    os.utime(lease.path, (0, 0))  # as old as a file can be
    watcher = Leases(tmp_path)
    assert watcher.claim(KEY, "") is None
    monkeypatch.setattr(time, "time", lambda: 1e12)
    assert watcher.claim(KEY, "") is None
    before = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: before + 61.0)
    assert watcher.claim(KEY, "") is not None


def test_the_lease_of_a_process_that_is_gone_is_taken_at_once(tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=Leases(tmp_path).claim, args=(KEY, "x"))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert [holder.gone for holder in holders(tmp_path)] == [True]
    assert Leases(tmp_path).claim(KEY, "") is not None


def test_a_process_number_used_again_is_another_process(tmp_path: Path) -> None:
    rewrite(claim(tmp_path), born="1")  # this process's number, but it did not start then
    assert Leases(tmp_path).claim(KEY, "") is not None


def test_a_lease_never_written_whole_dies_by_patience(tmp_path: Path) -> None:
    lease = claim(tmp_path)
    for content in (b"", b"{", b"[1]", b'{"pid": "x"}', b"\xff", b"[" * 100_000):
        lease.path.write_bytes(content)
        watcher = Leases(tmp_path, patience=0.0)
        assert watcher.claim(KEY, "") is None
        assert holders(tmp_path) == []
        time.sleep(0.001)
        taken = watcher.claim(KEY, "")
        assert taken is not None
        taken.renew()


def test_a_slow_takeover_gives_a_living_lease_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = claim(tmp_path)
    rewrite(dead, machine="elsewhere")
    slow, quick = Leases(tmp_path, patience=0.0), Leases(tmp_path, patience=0.0)
    assert slow.claim(KEY, "") is None and quick.claim(KEY, "") is None
    taken: list[Lease | None] = []
    rename = Path.rename

    def late(path: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "rename", rename)
        taken.append(quick.claim(KEY, ""))  # another takes over between this one's look and its move
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", late)
    assert slow.claim(KEY, "") is None
    assert taken[0] is not None
    taken[0].renew()
    assert [path.name for path in (tmp_path / ".leases").iterdir()] == [f"{KEY}.json"]


def test_a_holder_that_slept_does_not_overwrite_its_successor(tmp_path: Path) -> None:
    sleeper = claim(tmp_path)
    rewrite(sleeper, machine="elsewhere")
    watcher = Leases(tmp_path, patience=0.0)
    watcher.claim(KEY, "")
    successor = watcher.claim(KEY, "")
    assert successor is not None
    lost: list[Exception] = []
    with Heartbeat(lost.append, every=0.01) as heartbeat:
        heartbeat.add(sleeper)
        heartbeat.add(successor)
        time.sleep(0.1)
    assert len(lost) == 1 and isinstance(lost[0], LeaseLost)
    sleeper.release()
    successor.renew()
    assert json.loads(successor.path.read_bytes())["count"] >= 3


def test_a_removed_folder_is_said_and_not_made_again(tmp_path: Path) -> None:
    lease = claim(tmp_path)
    lease.path.unlink()
    with pytest.raises(FolderRemoved, match="was the results folder removed"):
        lease.renew()
    with pytest.raises(OSError, match="No such file"):
        Leases(tmp_path / "gone").claim(KEY, "")
    assert not (tmp_path / "gone").exists()


def _enter(lease: Lease) -> None:
    lease.enter()
    time.sleep(60.0)


def test_the_worker_that_entered_is_the_holder(tmp_path: Path) -> None:
    lease = claim(tmp_path)
    worker = multiprocessing.get_context("fork").Process(target=_enter, args=(lease,))
    worker.start()
    deadline = time.monotonic() + 60.0
    while holders(tmp_path)[0].pid != worker.pid:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert holders(tmp_path)[0].cell == "sum seed 0"
    assert Leases(tmp_path).claim(KEY, "") is None
    worker.kill()
    worker.join()
    assert Leases(tmp_path).claim(KEY, "") is not None
