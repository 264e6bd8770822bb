"""The SLURM job of one cell: what it runs, and how it ended."""

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
"""Seconds until a file written by a job is visible here, over a network file system."""
HOPELESS = {"CANCELLED", "DEADLINE", "OUT_OF_MEMORY", "TIMEOUT"}
"""States after which a retry is useless."""
LOCAL_ENDED = {"FINISHED", "INTERRUPTED"}
"""submitit's states of ended processes on this machine."""


@dataclass(frozen=True)
class Work:
    """The callable that submitit runs for one cell.

    :param job: the job of the cell.
    """

    job: CellJob

    def __call__(self) -> Event:
        """Run the cell and return its last event. Each requeue of the job by SLURM counts as another attempt."""
        tries = self.job.record["tries"] + int(os.environ.get("SLURM_RESTART_COUNT", "0"))
        return run_remote(replace(self.job, record={**self.job.record, "tries": tries}))


@dataclass
class SlurmTask:
    """A submitted job.

    :param job: the job of the cell.
    :param handle: submitit's handle of the job.
    :param minutes: time limit.
    """

    job: CellJob
    handle: submitit.Job[Event]
    minutes: int
    _begun: bool = False
    _ended: float | None = None

    @property
    def gone(self) -> bool:
        """Whether the process has ended; only for jobs that run on this machine."""
        return self.handle.state in LOCAL_ENDED

    def news(self, state: str) -> Iterator[Event]:
        """Yield an event if the job has started or was requeued since the last call.

        :param state: SLURM's state of the job.
        """
        if state == "RUNNING" and not self._begun:
            self._begun = True
            yield Event("started", self.job.cell)
        elif state == "PENDING" and self._begun:
            self._begun = False
            yield Event("note", self.job.cell, message="SLURM has put its job back into the queue")

    def end(self) -> Event | None:
        """Return the last event of the job, or ``None`` while the job has not ended.

        The report of the cell counts. A cell that was asked to end does not know why, or whether SLURM will requeue it:
        for such cells, and for jobs without a report, SLURM's state counts.
        """
        report = self._report()
        if report is not None and report.kind != "lost":
            return report
        state: str = self.handle.state
        if state not in ENDED | LOCAL_ENDED:
            return None
        self._ended = self._ended or time.monotonic()
        if report is None and time.monotonic() - self._ended < LAG:
            return None
        return self._lost(state, report)

    def _report(self) -> Event | None:
        """Return the event that the job has written: how its cell ended, or why the job failed before running it."""
        paths = self.handle.paths
        with contextlib.suppress(OSError):  # makes a network file system refresh its cache
            paths.folder.chmod(paths.folder.stat().st_mode)
        if not paths.result_pickle.exists():
            return None
        try:
            report: Event = self.handle.result()
        except submitit.core.utils.FailedJobError as error:  # an error of ours: cells report their own
            lines = str(error).rpartition("You can check full logs")[0].strip(" -\n").splitlines()
            return Event("lost", self.job.cell, message=one_line(lines[-1] if lines else str(error), 300))
        return report

    def _lost(self, state: str, report: Event | None) -> Event:
        """Return the last event of a job whose cell did not end. The state decides whether a retry is useful."""
        timeout = f"its {self.minutes} minutes were up, see --slurm-time"
        if report is None:
            log = [line for line in (self.handle.stderr() or "").splitlines() if line.strip()]
            report = Event("lost", self.job.cell, message=one_line(log[-1], 300) if log else "", retries=RETRIES)
        reasons = [report.message] if report.message else []
        if "SIGUSR2" in report.message or state == "TIMEOUT":
            reasons.insert(0, timeout)
        if state != "COMPLETED" or not reasons:
            reasons.insert(0, f"SLURM job {self.handle.job_id} ended as {state}")
        return replace(report, message=": ".join(reasons), retries=0 if state in HOPELESS else report.retries)
