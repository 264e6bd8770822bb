"""Leases: several launchers can share a results folder, also over a network, without training a cell twice for long.

``RESULTS/.leases/KEY.json`` names the process that runs a cell. The process that creates the file has the lease, and
increments a number in it while it runs. A lease is dead when its holder ran on this machine and has ended, or when its
content has not changed for :data:`PATIENCE` seconds of the watcher's own clock: clocks are never compared, so they may
be wrong. No lock can be left behind, and the network file system need not support locks.
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
"""Seconds without a sign of life after which a lease is dead."""
SIZE = 1024
"""Fixed size of a lease in bytes: it is overwritten in place, so a holder cannot replace its successor's file."""


class LeaseLost(Exception):
    """Another launcher has taken over the cell."""


class FolderRemoved(Exception):
    """The lease no longer exists, and perhaps neither does the results folder."""


@dataclass(frozen=True)
class Lease:
    """The right to run one cell.

    :param path: of the lease's file.
    :param owner: a random name, which the launcher passes to the worker with the lease.
    """

    path: Path
    owner: str

    def renew(self) -> None:
        """Show a sign of life.

        :raises LeaseLost: when another launcher has the lease.
        :raises FolderRemoved: when the lease no longer exists.
        """
        self._rewrite({})

    def enter(self) -> None:
        """Make this process the holder.

        :raises LeaseLost: as :meth:`renew`.
        :raises FolderRemoved: as :meth:`renew`.
        """
        self._rewrite(_this_process())

    def release(self) -> None:
        """Remove the lease, if this launcher still has it."""
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

    :param results: the folder.
    :param patience: seconds without a sign of life after which a lease of another machine is dead.
    """

    def __init__(self, results: Path, patience: float = PATIENCE) -> None:
        self.folder, self.patience = results / ".leases", patience
        self._contents: dict[str, tuple[bytes, float]] = {}

    def claim(self, key: str, title: str) -> Lease | None:
        """Return the lease of a cell, or ``None`` while another launcher has it: try again later.

        :param key: the cell's key.
        :param title: the cell's name in ``mtlbench status``.
        :raises OSError: when it cannot be written: the disk is full, or the results folder no longer exists.
        """
        lease = Lease(self.folder / f"{key}.json", uuid.uuid4().hex)
        self.folder.mkdir(exist_ok=True)  # without parents: a removed results folder is not created again
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
        before = self._contents.get(key)
        if before is None or before[0] != content:
            self._contents[key] = content, time.monotonic()
            return False
        return time.monotonic() - before[1] > self.patience


@dataclass(frozen=True)
class Holder:
    """The holder of a lease, for display.

    :param path: of the lease's file.
    :param key: the cell's key.
    :param cell: the cell's name.
    :param host: the machine's name.
    :param pid: the process.
    :param since: time when the lease was created.
    :param gone: whether the process ran on this machine and has ended; for other machines this cannot be known.
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
    holding = list[Holder]()
    for path in sorted((results / ".leases").glob("*.json")):
        with contextlib.suppress(OSError):  # released just now
            fields = _parsed(path.read_bytes())
            if isinstance(fields.get("pid"), int):
                host, cell, since = (str(fields.get(name, "")) for name in ("host", "cell", "since"))
                holding.append(Holder(path, path.stem, cell, host, fields["pid"], since, _process_is_gone(fields)))
    return holding


def _created(lease: Lease, title: str) -> bool:
    """Create the file of a lease; return ``False`` where it exists already."""
    try:
        handle = os.open(lease.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return False
    try:
        label = {"cell": title[:80], "since": now()}  # for display: no program compares the time
        os.write(handle, _written({"owner": lease.owner, "count": 0, **label, **_this_process()}))
    finally:
        os.close(handle)
    return True


def _moved_away(lease: Lease, content: bytes) -> bool:
    """Move a dead lease aside. If two processes try, one succeeds; a lease that turns out to be alive is put back."""
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
    """Return a lease's fields; an empty dict while its holder is writing it, or if it was never written whole."""
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def _written(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, ensure_ascii=False).encode(errors="replace").ljust(SIZE)


def _this_process() -> dict[str, Any]:
    return {"host": platform.node(), "machine": _machine(), "pid": os.getpid(), "born": _born(os.getpid())}


def _process_is_gone(fields: dict[str, Any]) -> bool:
    """Whether the holder ran on this machine and has ended. A later process with the same number does not count."""
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
    """Return the scope of process numbers: the host, its boot, and the container's own numbering."""
    boot, numbering = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    boots = [boot.read_text().strip()] if boot.exists() else []
    return " ".join([platform.node(), *boots, *([str(numbering.readlink())] if numbering.is_symlink() else [])])


def _born(pid: int) -> str:
    """Return the start time of a process; empty for a zombie, and where the system has no ``/proc``."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]
