"""Runs cells as SLURM jobs, in arrays, through submitit. All machines must have the results folder and the home folder.

submitit hands jobs over as pickles. They lie in a folder of the run's own below the home folder, which only its owner
may read or write; nothing in a results folder is ever unpickled. How a cell has ended is told by its job through this
folder; what became of a job that tells nothing is for SLURM's queue to say.
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
from mtlbench.plan.suite import Recipe

try:
    import submitit
except ImportError:
    raise UsageError("--executor slurm needs submitit: pip install 'mtlbench[slurm]'") from None

from mtlbench.execute.slurm_job import SlurmTask, Work
from mtlbench.execute.squeue import STUCK, Silent, Squeue, most_cores, plain

LARGEST_ARRAY = 1000
"""Jobs of an array. Where SLURM takes fewer, arrays are halved until it takes them."""
POLL = 1.0
"""Seconds between two looks at what is done."""
AGAIN = 30.0
"""Seconds after which jobs that SLURM did not take are offered again."""
LEAVING = 5.0
"""Seconds in which a job leaves the queue once its cell has ended."""


class Refused(Exception):
    """SLURM does not take jobs now, or these jobs at all."""


class Slurm:
    """A SLURM cluster.

    :param jobs: cells at a time, queued or running; by default as many as an array takes.
    :param minutes: that a cell may take before it is queued again.
    :param cluster: ``"local"``, for tests: the same jobs as processes of this machine, without SLURM.
    :raises UsageError: when there is no SLURM here, or the home folder cannot be written.
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
        self._here = cluster == "local"
        self._folder = Path.home() / ".mtlbench" / "slurm" / name
        try:
            self._folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder.mkdir(mode=0o700)
            self._executor = submitit.AutoExecutor(self._folder / "%j", cluster=cluster)
        except OSError as error:
            raise UsageError(f"SLURM's jobs need a folder that cannot be made: {error}") from None
        self._executor.update_parameters(
            name=name,
            timeout_min=minutes,
            cpus_per_task=cores,
            slurm_partition=partition,
            slurm_gpus_per_node=1 if recipe.device != "cpu" else None,
            slurm_srun_args=[f"--cpus-per-task={cores}"],  # srun takes it from its own command line only
            slurm_signal_delay_s=min(90, 30 * minutes),
            slurm_array_parallelism=self.capacity,
        )
        self._waiting: list[CellJob] = []
        self._running: list[SlurmTask] = []
        self._queued, self._refusal, self._again = False, "", 0.0
        self._told: set[str] = set()

    def submit(self, jobs: Sequence[CellJob]) -> None:
        """Queue jobs; keep those that SLURM does not take now, as for a limit on jobs, and offer them again later.

        :raises UsageError: when it takes none, and has taken none before.
        """
        self._waiting += jobs
        self._queue()

    def wait(self, seconds: float) -> Sequence[Event]:
        """Return what happened.

        :raises UsageError: when all jobs wait for what never comes, such as more time than a partition gives.
        """
        end = time.monotonic() + seconds
        while True:
            events = self._ends()
            if self._waiting and (events or time.monotonic() > self._again):
                self._queue()
            events = self._news() + events
            if events or time.monotonic() >= end:
                return events
            time.sleep(POLL)

    def stop(self, grace: float) -> None:
        """Cancel what is in the queue, kill it after some seconds of grace, and return when nothing is."""
        if not self._queued:
            shutil.rmtree(self._folder, ignore_errors=True)
            return
        steps: list[tuple[Sequence[str], float]] = [(("TERM",), grace), (("TERM", "KILL"), LEAVING)]
        if not self._running:  # the last jobs are about to leave by themselves
            steps.insert(0, ((), LEAVING))
        for signals, seconds in steps:
            for signal in signals:
                self._cancel(signal)
            end = time.monotonic() + seconds
            while (left := self._left()) and time.monotonic() < end:
                time.sleep(POLL)
            if not left:
                shutil.rmtree(self._folder, ignore_errors=True)
                break
        else:
            why = f" ({escape(self._squeue.trouble)})" if self._squeue.trouble else ""
            console.print(f"[yellow]SLURM jobs may be left{why}: scancel --name={self._squeue.name}[/]")
        self._waiting, self._running = [], []

    def _cancel(self, signal: str) -> None:
        if not self._here:
            self._squeue.cancel(*(["--signal=KILL"] if signal == "KILL" else []))  # SLURM itself begins with SIGTERM
        else:
            for task in self._running:
                task.handle.cancel()

    def _left(self) -> bool:
        return any(not task.gone for task in self._running) if self._here else self._squeue.left()

    def _queue(self) -> None:
        """Offer SLURM the jobs that wait: half of them, where that is more than an array or a user's limit takes."""
        size, first = self._largest, not self._queued
        while self._waiting:
            self._queued = True  # from here on: Ctrl-C may come when SLURM has the jobs, and nobody their numbers
            jobs = self._waiting[:size]
            try:
                tasks = self._submitted(jobs)
            except Refused as refusal:
                if len(jobs) > 1:
                    size = len(jobs) // 2
                    continue
                if first:
                    self._queued = False
                    raise UsageError(str(refusal)) from None
                self._refusal, self._again = str(refusal), time.monotonic() + AGAIN
                return
            self._largest, self._refusal, first = size, "", False
            self._running += tasks
            del self._waiting[:size]

    def _submitted(self, jobs: Sequence[CellJob]) -> list[SlurmTask]:
        try:
            # submitit prints what it raises, too
            with contextlib.redirect_stderr(io.StringIO()), _outside():
                handles = self._executor.submit_array([Work(job) for job in jobs])
        except (submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError) as error:
            raise Refused(f"SLURM refuses a cell's job: {plain(str(error))}") from None
        except OSError as error:
            raise Refused(f"a cell's job cannot be written to {self._folder}: {error.strerror}") from None
        return [SlurmTask(job, handle, self._minutes) for job, handle in zip(jobs, handles, strict=True)]

    def _ends(self) -> list[Event]:
        """Return how jobs have ended, since the last look."""
        ends = [(task, task.end()) for task in self._running]
        self._running = [task for task, end in ends if end is None]
        return [end for _, end in ends if end is not None]

    def _news(self) -> list[Event]:
        """Return what people should know of the queue: what has started, and why the rest does not, each reason once.

        :raises UsageError: when all jobs wait for what never comes.
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
        """Return a note, unless it was told before."""
        new = message not in self._told
        self._told.add(message)
        return [Event("note", job.cell, message=message)] if new else []


@contextlib.contextmanager
def _outside() -> Iterator[None]:
    """Forget the job that this process is part of: its jobs would take over its number, its tries and its memory."""
    inherited = {name: os.environ[name] for name in os.environ if name.startswith("SLURM_") and name != "SLURM_CONF"}
    for name in inherited:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(inherited)


def _check(partition: str | None, cores: int) -> None:
    """Look at what SLURM does not refuse: it keeps such jobs in its queue for ever.

    :raises UsageError: when there is no SLURM here, or no node that is large enough.
    """
    for program in ("srun", "sbatch", "sinfo", "squeue", "scancel"):
        if shutil.which(program) is None:
            raise UsageError(f"there is no SLURM here: {program} is not in PATH; run this where you would call sbatch")
    try:
        most = most_cores(partition)
    except Silent as error:
        raise UsageError(f"SLURM does not answer: {error}") from None
    if 0 < most < cores:
        raise UsageError(f"a cell takes {cores} cores (threads × processes), and SLURM's largest node here has {most}")
