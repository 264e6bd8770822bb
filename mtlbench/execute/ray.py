"""Run cells on a Ray cluster, each as a task in its own process. All machines must share the results folder."""

from __future__ import annotations

import logging
import os
import socket
import time
import warnings
from collections.abc import Sequence

from mtlbench.errors import UsageError, one_line
from mtlbench.execute.executor import RETRIES, CellJob, Event
from mtlbench.execute.remote import run_remote
from mtlbench.recipe.suite import Recipe

try:
    import ray
except ImportError:
    raise UsageError("--executor ray needs Ray: pip install 'mtlbench[ray]'") from None


KILLED = 5.0
"""Seconds in which Ray confirms that killed tasks are gone."""


class Ray:
    """Executor that runs cells on a Ray cluster. Ray gives each cell its cores, and a GPU if the recipe needs one.

    :param recipe: gives the cores, and whether a cell needs a GPU.
    :param jobs: maximum number of cells at a time; by default, as many as the cluster can run and as many again in the
        queue, so that a cluster that grows on demand sees demand.
    :param address: address of a running cluster; by default, RAY_ADDRESS, or else a cluster started on this machine.
    :raises UsageError: if there is no cluster at the address, or the one started here is too small for a cell.
    """

    def __init__(self, recipe: Recipe, *, jobs: int | None, address: str | None) -> None:
        self._ours = not ray.is_initialized()
        if self._ours:
            _connect(address or os.environ.get("RAY_ADDRESS"))
        self._jobs = jobs
        self._needs = {"CPU": float(recipe.threads * recipe.processes), "GPU": float(recipe.device != "cpu")}
        cpus, gpus = self._needs["CPU"], self._needs["GPU"]
        # one process per task, as in the local executor; the scheduler does the retries
        self._task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_calls=1, max_retries=0)(run_remote)
        self._running: dict[ray.ObjectRef[Event], CellJob] = {}
        self._small = self._too_small()
        if self._small and self._ours and not (address or os.environ.get("RAY_ADDRESS")):
            ray.shutdown()
            raise UsageError(f"{self._small}: ask for less, or give --address of a larger cluster")

    def _too_small(self) -> str:
        """Return why no current machine of the cluster can run a cell, or an empty string. Machines may join later."""
        machines = [machine["Resources"] for machine in ray.nodes() if machine["Alive"]]
        if any(all(machine.get(name, 0.0) >= need for name, need in self._needs.items()) for machine in machines):
            return ""
        gpu = " and a GPU" if self._needs["GPU"] else ""
        return f"a cell takes {self._needs['CPU']:.0f} cores{gpu}, which no machine of the Ray cluster has"

    @property
    def capacity(self) -> int:
        """Maximum number of jobs at a time, running or queued; it may change with the size of the cluster."""
        if self._jobs is not None:
            return self._jobs
        resources: dict[str, float] = ray.cluster_resources()
        return 2 * max(1, *(int(resources.get(name, 0.0) // need) for name, need in self._needs.items() if need))

    def submit(self, jobs: Sequence[CellJob]) -> None:
        """Queue jobs as Ray tasks.

        :param jobs: the jobs.
        """
        for job in jobs:
            self._running[self._task.remote(job)] = job

    def wait(self, seconds: float) -> Sequence[Event]:
        """Return the next events as soon as there are any.

        :param seconds: time after which to return without events.
        """
        if not self._running:
            time.sleep(seconds)
            return []
        if self._small:
            message, self._small = f"waits, as {self._small}", ""
            return [Event("note", next(iter(self._running.values())).cell, message=message)]
        waiting = list(self._running)
        ready, _ = ray.wait(waiting, num_returns=1, timeout=seconds)
        if ready:
            ready, _ = ray.wait(waiting, num_returns=len(waiting), timeout=0.0)  # all others that have ended too
        return [_ended(task, self._running.pop(task)) for task in ready]

    def stop(self, grace: float) -> None:
        """Cancel all tasks, kill those that do not end, and shut down a cluster started here.

        :param grace: seconds between the request and the kill.
        """
        for force, seconds in ((False, grace), (True, KILLED)):
            waiting = list(self._running)
            for task in waiting:
                ray.cancel(task, force=force)
            if waiting:
                for task in ray.wait(waiting, num_returns=len(waiting), timeout=seconds)[0]:
                    del self._running[task]
        if self._ours:
            ray.shutdown()


def _connect(address: str | None) -> None:
    """Connect to a cluster, or start one, without Ray's log messages.

    :raises UsageError: if there is none, or its version differs.
    """
    _reach(address)
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ray.init(
                address=address,
                include_dashboard=None if address else False,
                log_to_driver=False,
                logging_level=logging.CRITICAL,
            )
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        place = f"no Ray cluster at {address}" if address else "Ray cannot be started here"
        raise UsageError(f"{place}: {one_line(str(error), 400)}") from None


def _reach(address: str | None) -> None:
    """Test an address before Ray does: Ray would try for minutes and then end this process.

    :raises UsageError: if nothing listens there.
    """
    host, colon, port = (address or "").rpartition(":")
    if not colon or "//" in host:
        return
    try:
        socket.create_connection((host, int(port)), timeout=10.0).close()
    except (OSError, ValueError) as error:
        raise UsageError(f"no Ray cluster at {address}: {error}") from None


def _ended(task: ray.ObjectRef[Event], job: CellJob) -> Event:
    """Return the last event of a task. Lost processes and machines are worth a retry; a lack of memory is not."""
    try:
        return ray.get(task)
    except ray.exceptions.OutOfMemoryError as error:
        return Event("lost", job.cell, message=_line(error), retries=0)
    except (ray.exceptions.RayTaskError, ray.exceptions.RuntimeEnvSetupError) as error:
        return Event("lost", job.cell, message=_line(error), retries=0)
    except ray.exceptions.RayError as error:
        return Event("lost", job.cell, message=f"its process or machine was lost: {_line(error)}", retries=RETRIES)


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
