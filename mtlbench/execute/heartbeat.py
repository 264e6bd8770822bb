"""Signs of life for leases, from a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

from mtlbench.records.leases import FolderRemoved, Lease, LeaseLost

RENEWAL = 10.0
"""Seconds between two signs of life: some may be lost before a watcher loses patience."""


class Heartbeat:
    """Renews leases from a thread.

    :param lost: called once, from that thread, with the reason when a lease is lost; by default losses are ignored.
    """

    def __init__(self, lost: Callable[[Exception], None] | None = None, every: float = RENEWAL) -> None:
        self._leases: dict[str, Lease] = {}
        self._lost, self._every = lost, every
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def add(self, lease: Lease) -> None:
        """Renew this lease from now on."""
        self._leases[lease.owner] = lease

    def remove(self, lease: Lease) -> None:
        """Renew it no more."""
        self._leases.pop(lease.owner, None)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self._every):
            for lease in list(self._leases.values()):
                try:
                    lease.renew()
                except (LeaseLost, FolderRemoved) as reason:
                    self.remove(lease)
                    if self._lost is not None:
                        self._lost(reason)
                except OSError:  # a file system that is away for a moment; the next sign of life may arrive
                    continue
