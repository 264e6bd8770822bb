"""Runs cells as SLURM jobs, in arrays, through submitit. All machines must have the results folder and the home folder.

submitit hands jobs over as pickles. They lie in a folder of its own below the home folder, which only its owner may
read or write; nothing in a results folder is ever unpickled.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mtlbench.errors import UsageError
from mtlbench.execute.executor import RETRIES, Event, Job
from mtlbench.execute.remote import run_remote
from mtlbench.plan.suite import Recipe

try:
    import submitit
except ImportError:
    raise UsageError("--executor slurm needs submitit: pip install 'mtlbench[slurm]'") from None

LARGEST_ARRAY = 1000
"""Jobs of an array, where a SLURM's configuration does not say otherwise."""
POLL = 1.0
"""Seconds between two looks at what is done."""


@dataclass(frozen=True)
class Work:
    """One cell's job, as submitit takes it."""

    job: Job

    def __call__(self) -> Event:
        return run_remote(self.job)

    def checkpoint(self) -> submitit.helpers.DelayedSubmission | None:
        """Return the job to queue again when SLURM takes the machine away or the time is up: the next try, from the
        cell's own checkpoint. None when there were enough."""
        tries = self.job.record["tries"] + 1
        if tries > 1 + RETRIES:
            return None
        again = replace(self.job, record={**self.job.record, "tries": tries})
        return submitit.helpers.DelayedSubmission(Work(again))


class Slurm:
    """A SLURM cluster.

    :param jobs: cells at a time, queued or running; by default as many as an array takes.
    :param minutes: that a cell may take before it is queued again.
    :param cluster: ``"local"``, for tests: the same jobs as processes of this machine, without SLURM.
    :raises UsageError: when there is no SLURM here.
    """

    def __init__(
        self, recipe: Recipe, *, jobs: int | None, partition: str | None, minutes: int, cluster: str = "slurm"
    ) -> None:
        if cluster == "slurm" and submitit.SlurmExecutor.affinity() < 0:
            raise UsageError("there is no SLURM here: srun is not in PATH; run this where you would call sbatch")
        self.capacity = jobs or LARGEST_ARRAY
        folder = Path.home() / ".mtlbench" / "slurm"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._executor = submitit.AutoExecutor(folder / "%j", cluster=cluster, slurm_max_num_timeout=RETRIES)
        self._executor.update_parameters(
            name="mtlbench",
            timeout_min=minutes,
            cpus_per_task=recipe.threads * recipe.processes,
            gpus_per_node=int(recipe.device != "cpu"),
            **({} if partition is None else {"slurm_partition": partition}),
        )
        self._running: list[tuple[submitit.Job[Event], Job]] = []

    def submit(self, jobs: Sequence[Job]) -> None:
        self._running += zip(self._executor.submit_array([Work(job) for job in jobs]), jobs, strict=True)

    def wait(self, seconds: float) -> Sequence[Event]:
        end = time.monotonic() + seconds
        while True:
            ended = [pair for pair in self._running if pair[0].done()]
            if ended or time.monotonic() >= end:
                self._running = [pair for pair in self._running if pair not in ended]
                return [_ended(task, job) for task, job in ended]
            time.sleep(POLL)

    def stop(self, grace: float) -> None:
        for task, _ in self._running:
            task.cancel()  # SLURM itself ends a job, by SIGTERM, and kills it after its own time of grace
        end = time.monotonic() + grace
        while any(not task.done() for task, _ in self._running) and time.monotonic() < end:
            time.sleep(0.1)
        self._running = []


def _ended(task: submitit.Job[Event], job: Job) -> Event:
    """Return what became of a job. Its state says whether another try is any use."""
    try:
        return task.result()
    except submitit.core.utils.FailedJobError as error:  # a fault of ours: cells tell their own
        return Event("lost", job.cell, message=" ".join(str(error).split())[-300:])
    except submitit.core.utils.UncompletedJobError:
        state = task.state
        retries = 0 if state.startswith(("OUT_OF_MEMORY", "CANCELLED", "TIMEOUT")) else RETRIES
        return Event("lost", job.cell, message=f"SLURM job {task.job_id} ended as {state}", retries=retries)
