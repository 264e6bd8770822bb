"""Leases: several launchers share one results folder, also over a network, and no cell is trained twice for long.

``RESULTS/.leases/KEY.json`` says who runs a cell. Whoever creates the file has the lease; its holder counts up a number
in it as long as it lives. A lease is dead when its holder ran on this machine and is gone, or when its content has not
changed for :data:`PATIENCE` seconds of the watcher's own clock: clocks are never compared, so they may be wrong. There
is no lock to be left behind, and none that a network file system would have to support.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
import uuid
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mtlbench.records.header import now

PATIENCE = 60.0
"""Seconds without one after which a lease is dead."""
SIZE = 1024
"""Bytes of a lease, always: it is overwritten in place, so that a holder cannot overwrite its successor's file."""


class LeaseLost(Exception):
    """Another launcher took this cell over."""


class FolderRemoved(Exception):
    """The lease is not there any more, and nor may the results folder be."""


@dataclass(frozen=True)
class Lease:
    """The right to run one cell.

    :param owner: a random name; it goes with the lease from the launcher to the worker.
    """

    path: Path
    owner: str

    def renew(self) -> None:
        """Show a sign of life.

        :raises LeaseLost: when another has it.
        :raises FolderRemoved: when it is not there.
        """
        self._rewrite({})

    def enter(self) -> None:
        """Make this process the holder; raises like :meth:`renew`."""
        self._rewrite(_this_process())

    def release(self) -> None:
        """Remove the lease, if it is still ours."""
        with contextlib.suppress(OSError, LeaseLost, FolderRemoved):
            self.renew()
            self.path.unlink()

    def _rewrite(self, changes: dict[str, Any]) -> None:
        try:
            handle = os.open(self.path, os.O_RDWR)
        except FileNotFoundError:
            raise FolderRemoved(f"its lease {self.path} is gone: was the results folder removed?") from None
        try:
            content = _parsed(os.pread(handle, SIZE, 0))
            if content.get("owner") != self.owner:
                raise LeaseLost("another launcher took it over")
            os.pwrite(handle, _written({**content, **changes, "count": content["count"] + 1}), 0)
        finally:
            os.close(handle)


class Leases:
    """The leases of a results folder.

    :param patience: seconds without a sign of life after which a lease of another machine is dead.
    """

    def __init__(self, results: Path, patience: float = PATIENCE) -> None:
        self.folder, self.patience = results / ".leases", patience
        self._seen: dict[str, tuple[bytes, float]] = {}

    def claim(self, key: str, title: str) -> Lease | None:
        """Return the lease of a cell, or ``None`` while another has it: ask again later.

        :param title: what ``mtlbench status`` calls the cell.
        :raises OSError: when it cannot be written: a full disk, or the results folder is not there any more.
        """
        lease = Lease(self.folder / f"{key}.json", uuid.uuid4().hex)
        self.folder.mkdir(exist_ok=True)  # not its parents: a results folder that was removed stays so
        if _created(lease, title):
            return lease
        try:
            content = lease.path.read_bytes()
        except FileNotFoundError:  # released just now
            return lease if _created(lease, title) else None
        if not self._dead(key, content) or not _moved_away(lease, content):
            return None
        return lease if _created(lease, title) else None

    def _dead(self, key: str, content: bytes) -> bool:
        if _process_is_gone(_parsed(content)):
            return True
        before = self._seen.get(key)
        if before is None or before[0] != content:
            self._seen[key] = content, time.monotonic()
            return False
        return time.monotonic() - before[1] > self.patience


@dataclass(frozen=True)
class Holder:
    """Who holds a lease, for people.

    :param gone: whether it ran on this machine and is no more; of others, only watching can tell.
    """

    path: Path
    key: str
    cell: str
    host: str
    pid: int
    since: str
    gone: bool


def holders(results: Path) -> list[Holder]:
    """Return the holder of every lease of a results folder; leases that cannot be read are left out."""
    found = []
    for path in sorted((results / ".leases").glob("*.json")):
        with contextlib.suppress(OSError):  # released just now
            fields = _parsed(path.read_bytes())
            if isinstance(fields.get("pid"), int):
                host, cell, since = (str(fields.get(name, "")) for name in ("host", "cell", "since"))
                found.append(Holder(path, path.stem, cell, host, fields["pid"], since, _process_is_gone(fields)))
    return found


def _created(lease: Lease, title: str) -> bool:
    """Create the file of a lease; return whether it was not there."""
    try:
        handle = os.open(lease.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return False
    try:
        told = {"cell": title[:80], "since": now()}  # for people to read: no program compares the time
        os.write(handle, _written({"owner": lease.owner, "count": 0, **told, **_this_process()}))
    finally:
        os.close(handle)
    return True


def _moved_away(lease: Lease, content: bytes) -> bool:
    """Move a dead lease out of the way. Of two who try, one succeeds; who moved a living one puts it back."""
    aside = lease.path.with_suffix(f".{lease.owner}")
    try:
        lease.path.rename(aside)
    except FileNotFoundError:
        return False
    if aside.read_bytes() != content:
        aside.rename(lease.path)
        return False
    aside.unlink()
    return True


def _parsed(content: bytes) -> dict[str, Any]:
    """Return a lease's fields; none for one that its holder is just writing, or never wrote whole."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _written(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, ensure_ascii=False).encode(errors="replace").ljust(SIZE)


def _this_process() -> dict[str, Any]:
    return {"host": platform.node(), "machine": _machine(), "pid": os.getpid(), "born": _born(os.getpid())}


def _process_is_gone(fields: dict[str, Any]) -> bool:
    """Whether the holder ran on this machine and is no more. A process that got its number later is another."""
    if fields.get("machine") != _machine():
        return False
    pid = fields.get("pid")
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return _born(pid) != fields.get("born")


@cache
def _machine() -> str:
    """Return what tells apart where process numbers count: host, its boot, and the container's own numbering."""
    boot, numbering = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    told = [boot.read_text().strip()] if boot.exists() else []
    return " ".join([platform.node(), *told, *([str(numbering.readlink())] if numbering.is_symlink() else [])])


def _born(pid: int) -> str:
    """Return when a process started, where the system tells; a zombie is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]
