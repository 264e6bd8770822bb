"""What SLURM's queue says of a run's jobs. It needs no accounting: ``sacct`` is there on some clusters only."""

from __future__ import annotations

import os
import re
import subprocess
import time

from submitit.core.core import InfoWatcher

EVERY = 20
"""Seconds between two looks at the queue at most; they are closer together while jobs are new. What cells have ended
is told by their own files, so this is for jobs that end without a word."""
PATIENCE = 60.0
"""Seconds that a command of SLURM has."""
LISTED = ("--states=all", "--noheader", "--array", "--format=%i|%T|%r")
"""Options of squeue: the jobs that have ended, too, and each job of an array in a line: number, state, reason."""
ENDED = {
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"),
    *("REVOKED", "TIMEOUT", "GONE"),
}
"""States of jobs that do not come back. SLURM forgets a job some minutes after its end: then it is ``GONE``."""
STUCK = {
    *("PartitionTimeLimit", "PartitionNodeLimit", "BadConstraints", "InvalidAccount", "InvalidQOS", "QOSTimeLimit"),
    *("AssociationTimeLimit", "AssocMaxWallDurationPerJobLimit", "QOSMaxWallDurationPerJobLimit"),
    *("AssocMaxCpuPerJobLimit", "QOSMaxCpuPerJobLimit", "AssocMaxGRESPerJob", "QOSMaxGRESPerJob"),
    *("DependencyNeverSatisfied", "launch failed requeued held"),
}
"""Reasons of a job to wait that time does not change."""


class Silent(Exception):
    """SLURM does not answer."""


class Squeue(InfoWatcher):  # type: ignore[misc]  # submitit is not typed here
    """The jobs of one name, by their numbers: what submitit asks for the state of a job.

    :param name: of all jobs of this run, and of no others.
    """

    def __init__(self, name: str) -> None:
        super().__init__(delay_s=EVERY)
        self.name = name
        self.trouble = ""
        """Why the last look at the queue failed, or empty."""

    def update(self) -> None:
        """Look at the queue. Where SLURM does not answer, as while it restarts, states are those of before."""
        known = set(self._registered)
        try:
            rows = _told("squeue", f"--user={os.getuid()}", f"--name={self.name}", *LISTED).splitlines()
        except Silent as error:
            self.trouble = str(error)
        else:
            self.trouble = ""
            fields = (row.split("|", 2) for row in rows)
            told = {job: {"State": state, "Reason": reason} for job, state, reason in fields}
            self._info_dict = {job: {"State": "GONE", "Reason": ""} for job in known} | told
        self._last_status_check = time.time()

    def get_state(self, job_id: str, mode: str = "standard") -> str:
        """Return SLURM's name of a job's state."""
        return str(self.get_info(job_id, mode).get("State", "UNKNOWN"))

    def last(self, job_id: str) -> tuple[str, str]:
        """Return a job's state, and why it waits if it does, as they were when the queue was looked at last."""
        info = self._info_dict.get(job_id, {})
        return str(info.get("State", "UNKNOWN")), str(info.get("Reason", "None"))

    def is_done(self, job_id: str, mode: str = "standard") -> bool:
        """Return whether a job has ended for good."""
        return self.get_state(job_id, mode) in ENDED

    def left(self) -> bool:
        """Look at the queue and return whether a job of this run is in it, or may be."""
        self.update()
        return bool(self.trouble) or any(info["State"] not in ENDED for info in self._info_dict.values())

    def cancel(self, *how: str) -> None:
        """Cancel all jobs of this run, also those that nobody knows of because Ctrl-C came while they were queued."""
        try:
            _told("scancel", "--quiet", f"--name={self.name}", *how)
        except Silent as error:
            self.trouble = str(error)


def most_cores(partition: str | None) -> int:
    """Return the cores of the largest node, of a partition or of the cluster; 0 for a partition that is not known.

    :raises Silent: when SLURM does not answer.
    """
    among = [] if partition is None else [f"--partition={partition}"]
    return max(map(int, _told("sinfo", "--noheader", "--Node", "--format=%c", *among).split()), default=0)


def _told(*command: str) -> str:
    """Run a command of SLURM, out of reach of the terminal's Ctrl-C, and return its output.

    :raises Silent: when it fails.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, start_new_session=True)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Silent(f"{command[0]}: {error}") from None
    if done.returncode:
        raise Silent(plain(done.stderr) or f"{command[0]} ended with exit code {done.returncode}")
    return done.stdout


def plain(output: str) -> str:
    """Return what SLURM's commands write to standard error as one line, without the names of programs."""
    lines = [re.sub(r"^(sbatch|sinfo): (error: |fatal: )?", "", line).strip() for line in output.splitlines()]
    return "; ".join(line for line in dict.fromkeys(lines) if line)
