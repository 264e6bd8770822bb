"""One cell's job in SLURM's queue: what it runs there, and what became of it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import submitit

from mtlbench.errors import one_line
from mtlbench.execute.executor import RETRIES, CellJob, Event
from mtlbench.execute.remote import run_remote
from mtlbench.execute.squeue import ENDED

LAG = 10.0
"""Seconds in which a file that a job has written is seen here, over a network file system."""
HOPELESS = {"CANCELLED", "DEADLINE", "OUT_OF_MEMORY", "TIMEOUT"}
"""States after which another try is no use."""
LOCAL_ENDED = {"FINISHED", "INTERRUPTED"}
"""What submitit calls the end of a process of this machine."""


@dataclass(frozen=True)
class Work:
    """One cell's job, as submitit takes it."""

    job: CellJob

    def __call__(self) -> Event:
        """Run the cell. A job that SLURM has put back into its queue is another try."""
        tries = self.job.record["tries"] + int(os.environ.get("SLURM_RESTART_COUNT", "0"))
        return run_remote(replace(self.job, record={**self.job.record, "tries": tries}))


@dataclass
class SlurmTask:
    """A job in the queue.

    :param handle: submitit's.
    :param minutes: that it may take.
    """

    job: CellJob
    handle: submitit.Job[Event]
    minutes: int
    _begun: bool = False
    _ended: float | None = None

    @property
    def gone(self) -> bool:
        """Whether its process has ended, where that is one of this machine."""
        return self.handle.state in LOCAL_ENDED

    def news(self, state: str) -> Iterator[Event]:
        """Give what has happened since the last state."""
        if state == "RUNNING" and not self._begun:
            self._begun = True
            yield Event("started", self.job.cell)
        elif state == "PENDING" and self._begun:
            self._begun = False
            yield Event("note", self.job.cell, message="SLURM has put its job back into the queue")

    def end(self) -> Event | None:
        """Return how it has ended, once it has.

        What its cell says of itself counts. A cell that was asked to end does not know why, and whether SLURM puts it
        back into its queue: there, and of jobs that say nothing, SLURM's word counts.
        """
        word = self._word()
        if word is not None and word.kind != "lost":
            return word
        state: str = self.handle.state
        if state not in ENDED | LOCAL_ENDED:
            return None
        self._ended = self._ended or time.monotonic()
        if word is None and time.monotonic() - self._ended < LAG:
            return None
        return self._lost(state, word)

    def _word(self) -> Event | None:
        """Return what the job has left behind: how its cell ended, or that it fell before it could run it."""
        paths = self.handle.paths
        with contextlib.suppress(OSError):  # makes a network file system look again
            paths.folder.chmod(paths.folder.stat().st_mode)
        if not paths.result_pickle.exists():
            return None
        try:
            word: Event = self.handle.result()
        except submitit.core.utils.FailedJobError as error:  # a fault of ours: cells tell their own
            lines = str(error).rpartition("You can check full logs")[0].strip(" -\n").splitlines()
            return Event("lost", self.job.cell, message=one_line(lines[-1] if lines else str(error), 300))
        return word

    def _lost(self, state: str, word: Event | None) -> Event:
        """Return the end of a job whose cell has none. Its state says whether another try is any use."""
        up = f"its {self.minutes} minutes were up, see --slurm-time"
        if word is None:
            log = [line for line in (self.handle.stderr() or "").splitlines() if line.strip()]
            word = Event("lost", self.job.cell, message=one_line(log[-1], 300) if log else "", retries=RETRIES)
        told = [word.message] if word.message else []
        if "SIGUSR2" in word.message or state == "TIMEOUT":
            told.insert(0, up)
        if state != "COMPLETED" or not told:
            told.insert(0, f"SLURM job {self.handle.job_id} ended as {state}")
        return replace(word, message=": ".join(told), retries=0 if state in HOPELESS else word.retries)
