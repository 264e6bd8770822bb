"""A thread that renews leases."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

from mtlbench.records.leases import FolderRemoved, Lease, LeaseLost

RENEWAL = 10.0
"""Seconds between two renewals: several may fail before a watcher considers the lease dead."""


class Heartbeat:
    """Thread that renews leases; it runs while the context is entered.

    :param lost: called once per lost lease, in that thread, with the reason; by default, losses are ignored.
    :param every: seconds between two renewals.
    """

    def __init__(self, lost: Callable[[Exception], None] | None = None, every: float = RENEWAL) -> None:
        self._leases: dict[str, Lease] = {}
        self._lost, self._every = lost, every
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def add(self, lease: Lease) -> None:
        """Start renewing a lease.

        :param lease: the lease.
        """
        self._leases[lease.owner] = lease

    def remove(self, lease: Lease) -> None:
        """Stop renewing a lease.

        :param lease: the lease; nothing happens if it was not being renewed.
        """
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
                except OSError:  # the file system is unreachable for now; the next renewal may succeed
                    continue
