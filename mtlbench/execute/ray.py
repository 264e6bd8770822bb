"""Runs cells on a Ray cluster, each as one task in a process of its own. The results folder must be on all machines."""

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
from mtlbench.plan.suite import Recipe

try:
    import ray
except ImportError:
    raise UsageError("--executor ray needs Ray: pip install 'mtlbench[ray]'") from None


KILLED = 5.0
"""Seconds that Ray has to tell that what it killed is gone."""


class Ray:
    """A Ray cluster. Ray gives every cell its cores, and a GPU where the recipe needs one.

    :param address: of a running cluster; by default that of RAY_ADDRESS, or else one is started on this machine.
    :param jobs: cells at a time; by default as many as the cluster may hold, and as many again in the queue, so that
        a cluster that grows by demand sees some.
    :raises UsageError: when there is no cluster at this address, or one started here is too small for a cell.
    """

    def __init__(self, recipe: Recipe, *, jobs: int | None, address: str | None) -> None:
        self._ours = not ray.is_initialized()
        if self._ours:
            _connect(address or os.environ.get("RAY_ADDRESS"))
        self._jobs = jobs
        self._needs = {"CPU": float(recipe.threads * recipe.processes), "GPU": float(recipe.device != "cpu")}
        cpus, gpus = self._needs["CPU"], self._needs["GPU"]
        # a process for one task only, as on this machine; tries are counted by the loop
        self._task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_calls=1, max_retries=0)(run_remote)
        self._running: dict[ray.ObjectRef[Event], CellJob] = {}
        self._small = self._too_small()
        if self._small and self._ours and not (address or os.environ.get("RAY_ADDRESS")):
            ray.shutdown()
            raise UsageError(f"{self._small}: ask for less, or give --address of a larger cluster")

    def _too_small(self) -> str:
        """Return why no machine of the cluster can run a cell; empty when one can. More machines may come."""
        machines = [machine["Resources"] for machine in ray.nodes() if machine["Alive"]]
        if any(all(one.get(name, 0.0) >= need for name, need in self._needs.items()) for one in machines):
            return ""
        gpu = " and a GPU" if self._needs["GPU"] else ""
        return f"a cell takes {self._needs['CPU']:.0f} cores{gpu}, which no machine of the Ray cluster has"

    @property
    def capacity(self) -> int:
        if self._jobs is not None:
            return self._jobs
        there: dict[str, float] = ray.cluster_resources()
        return 2 * max(1, *(int(there.get(name, 0.0) // need) for name, need in self._needs.items() if need))

    def submit(self, jobs: Sequence[CellJob]) -> None:
        for job in jobs:
            self._running[self._task.remote(job)] = job

    def wait(self, seconds: float) -> Sequence[Event]:
        if not self._running:
            time.sleep(seconds)
            return []
        if self._small:
            told, self._small = f"waits, as {self._small}", ""
            return [Event("note", next(iter(self._running.values())).cell, message=told)]
        waiting = list(self._running)
        ready, _ = ray.wait(waiting, num_returns=1, timeout=seconds)
        if ready:
            ready, _ = ray.wait(waiting, num_returns=len(waiting), timeout=0.0)  # those that ended at the same time
        return [_ended(task, self._running.pop(task)) for task in ready]

    def stop(self, grace: float) -> None:
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
    """Connect to a cluster, or start one, without what Ray says on the way: what people should know is raised.

    :raises UsageError: when there is none, or one of another version.
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
    """Try an address by hand: Ray itself tries for minutes, and then ends this process.

    :raises UsageError: when nobody listens there.
    """
    host, colon, port = (address or "").rpartition(":")
    if not colon or "//" in host:
        return
    try:
        socket.create_connection((host, int(port)), timeout=10.0).close()
    except (OSError, ValueError) as error:
        raise UsageError(f"no Ray cluster at {address}: {error}") from None


def _ended(task: ray.ObjectRef[Event], job: CellJob) -> Event:
    """Return what became of a task: a process or machine that went away is worth another try, too little memory not."""
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
