"""Run cells as SLURM jobs, in arrays, through submitit. All machines must share the results folder and the home folder.

submitit passes jobs as pickles. Each run keeps them in its own folder within the home folder, which only the owner can
read or write; nothing in a results folder is ever unpickled. A job reports how its cell ended through this folder; for
jobs without a report, SLURM's queue gives the state.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.markup import escape

from mtlbench.errors import UsageError
from mtlbench.execute.executor import CellJob, Event
from mtlbench.host.terminal import console
from mtlbench.recipe.suite import Recipe

try:
    import submitit
except ImportError:
    raise UsageError("--executor slurm needs submitit: pip install 'mtlbench[slurm]'") from None

from mtlbench.execute.slurm_job import SlurmTask, Work
from mtlbench.execute.squeue import STUCK, Silent, Squeue, most_cores, plain

LARGEST_ARRAY = 1000
"""Maximum number of jobs in an array. If SLURM accepts fewer, arrays are halved until it accepts them."""
POLL = 1.0
"""Seconds between two checks for ended jobs."""
AGAIN = 30.0
"""Seconds after which jobs that SLURM refused are submitted again."""
LEAVING = 5.0
"""Seconds that a job may take to leave the queue once its cell has ended."""


class Refused(Exception):
    """SLURM does not accept jobs, either for now or at all."""


class Slurm:
    """Executor that runs cells on a SLURM cluster.

    :param recipe: gives the cores, and whether a cell needs a GPU.
    :param jobs: maximum number of cells at a time, queued or running; by default, :data:`LARGEST_ARRAY`.
    :param partition: SLURM partition; by default, that of the cluster.
    :param minutes: time limit of a cell, after which it is queued again.
    :param cluster: ``"slurm"``; or ``"local"``, for tests, to run the jobs as processes of this machine without SLURM.
    :raises UsageError: if SLURM is not available here, no node is large enough, or the home folder cannot be written.
    """

    def __init__(
        self, recipe: Recipe, *, jobs: int | None, partition: str | None, minutes: int, cluster: str = "slurm"
    ) -> None:
        self.capacity = jobs or LARGEST_ARRAY
        self._minutes = minutes
        cores = recipe.threads * recipe.processes
        self._largest = self.capacity
        name = f"mtlbench-{uuid.uuid4().hex[:8]}"
        self._squeue = Squeue(name)
        if cluster == "slurm":
            _check(partition, cores)
            submitit.SlurmJob.watcher = self._squeue
        self._local = cluster == "local"
        self._folder = Path.home() / ".mtlbench" / "slurm" / name
        try:
            self._folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder.mkdir(mode=0o700)
            self._executor = submitit.AutoExecutor(self._folder / "%j", cluster=cluster)
        except OSError as error:
            raise UsageError(f"cannot create the folder for SLURM's jobs: {error}") from None
        self._executor.update_parameters(
            name=name,
            timeout_min=minutes,
            cpus_per_task=cores,
            slurm_partition=partition,
            slurm_gpus_per_node=1 if recipe.device != "cpu" else None,
            slurm_srun_args=[f"--cpus-per-task={cores}"],  # srun reads it only from its own command line
            slurm_signal_delay_s=min(90, 30 * minutes),
            slurm_array_parallelism=self.capacity,
        )
        self._waiting: list[CellJob] = []
        self._running: list[SlurmTask] = []
        self._queued, self._refusal, self._resubmit_at = False, "", 0.0
        self._reported: set[str] = set()

    def submit(self, jobs: Sequence[CellJob]) -> None:
        """Queue jobs. Those that SLURM refuses for now, as because of a limit on jobs, are submitted again later.

        :param jobs: the jobs.
        :raises UsageError: if SLURM refuses the jobs and has accepted none before.
        """
        self._waiting += jobs
        self._queue()

    def wait(self, seconds: float) -> Sequence[Event]:
        """Return the next events as soon as there are any.

        :param seconds: time after which to return without events.
        :raises UsageError: if no job can ever start, as when all ask for more time than the partition allows.
        """
        end = time.monotonic() + seconds
        while True:
            events = self._ends()
            if self._waiting and (events or time.monotonic() > self._resubmit_at):
                self._queue()
            events = self._news() + events
            if events or time.monotonic() >= end:
                return events
            time.sleep(POLL)

    def stop(self, grace: float) -> None:
        """Cancel the jobs in the queue, kill those that do not end, and return when the queue is empty.

        :param grace: seconds between SIGTERM and SIGKILL.
        """
        if not self._queued:
            shutil.rmtree(self._folder, ignore_errors=True)
            return
        steps: list[tuple[Sequence[str], float]] = [(("TERM",), grace), (("TERM", "KILL"), LEAVING)]
        if not self._running:  # the last jobs are about to leave on their own
            steps.insert(0, ((), LEAVING))
        for signals, seconds in steps:
            for signal in signals:
                self._cancel(signal)
            end = time.monotonic() + seconds
            while (left := self._jobs_left()) and time.monotonic() < end:
                time.sleep(POLL)
            if not left:
                shutil.rmtree(self._folder, ignore_errors=True)
                break
        else:
            reason = f" ({escape(self._squeue.trouble)})" if self._squeue.trouble else ""
            console.print(f"[yellow]SLURM jobs may be left{reason}: scancel --name={self._squeue.name}[/]")
        self._waiting, self._running = [], []

    def _cancel(self, signal: str) -> None:
        if not self._local:
            self._squeue.cancel(*(["--signal=KILL"] if signal == "KILL" else []))  # scancel sends SIGTERM by default
        else:
            for task in self._running:
                task.handle.cancel()

    def _jobs_left(self) -> bool:
        return any(not task.gone for task in self._running) if self._local else self._squeue.left()

    def _queue(self) -> None:
        """Submit the waiting jobs, in halves while they exceed the limit of an array or of the user."""
        size, first = self._largest, not self._queued
        while self._waiting:
            self._queued = True  # already: Ctrl-C may come when SLURM has the jobs but we lack their numbers
            jobs = self._waiting[:size]
            try:
                tasks = self._submit_array(jobs)
            except Refused as refusal:
                if len(jobs) > 1:
                    size = len(jobs) // 2
                    continue
                if first:
                    self._queued = False
                    raise UsageError(str(refusal)) from None
                self._refusal, self._resubmit_at = str(refusal), time.monotonic() + AGAIN
                return
            self._largest, self._refusal, first = size, "", False
            self._running += tasks
            del self._waiting[:size]

    def _submit_array(self, jobs: Sequence[CellJob]) -> list[SlurmTask]:
        try:
            # submitit also prints the errors that it raises
            with contextlib.redirect_stderr(io.StringIO()), _without_outer_job():
                handles = self._executor.submit_array([Work(job) for job in jobs])
        except (submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError) as error:
            raise Refused(f"SLURM refuses a cell's job: {plain(str(error))}") from None
        except OSError as error:
            raise Refused(f"a cell's job cannot be written to {self._folder}: {error.strerror}") from None
        return [SlurmTask(job, handle, self._minutes) for job, handle in zip(jobs, handles, strict=True)]

    def _ends(self) -> list[Event]:
        """Return the last events of the jobs that have ended since the last call."""
        ends = [(task, task.end()) for task in self._running]
        self._running = [task for task, end in ends if end is None]
        return [end for _, end in ends if end is not None]

    def _news(self) -> list[Event]:
        """Return the events of the queue: jobs that started, and reasons why others do not, each reason once.

        :raises UsageError: if no job can ever start.
        """
        events: list[Event] = []
        stuck = []
        for task in self._running:
            state, reason = self._squeue.last(task.handle.job_id)
            events += task.news(state)
            if state == "PENDING" and reason != "None":
                events += self._once(task.job, f"its job waits in SLURM's queue: {reason}")
                stuck += [reason] if reason in STUCK else []
        if stuck and len(stuck) == len(self._running):
            raise UsageError(f"SLURM never starts these jobs ({stuck[0]}): ask for less, or for another partition")
        jobs = [task.job for task in self._running] + self._waiting
        silent = f"SLURM does not answer: {self._squeue.trouble}" if self._squeue.trouble else ""
        for trouble in filter(None, (silent, self._refusal)):
            events += self._once(jobs[0], f"{trouble}; asked again until it does") if jobs else []
        return events

    def _once(self, job: CellJob, message: str) -> list[Event]:
        """Return a note, unless it was returned before."""
        new = message not in self._reported
        self._reported.add(message)
        return [Event("note", job.cell, message=message)] if new else []


@contextlib.contextmanager
def _without_outer_job() -> Iterator[None]:
    """Hide the SLURM job of this process: new jobs would inherit its number, restart count and memory limit."""
    inherited = {name: os.environ[name] for name in os.environ if name.startswith("SLURM_") and name != "SLURM_CONF"}
    for name in inherited:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(inherited)


def _check(partition: str | None, cores: int) -> None:
    """Check for jobs that SLURM would accept but never start.

    :raises UsageError: if SLURM is not available here, or no node is large enough.
    """
    for program in ("srun", "sbatch", "sinfo", "squeue", "scancel"):
        if shutil.which(program) is None:
            raise UsageError(f"there is no SLURM here: {program} is not in PATH; run this where you would run sbatch")
    try:
        largest = most_cores(partition)
    except Silent as error:
        raise UsageError(f"SLURM does not answer: {error}") from None
    if 0 < largest < cores:
        raise UsageError(
            f"a cell takes {cores} cores (threads × processes), and SLURM's largest node here has {largest}"
        )
