"""State of a run's jobs in SLURM's queue, without accounting: not all clusters have ``sacct``."""

from __future__ import annotations

import os
import re
import subprocess
import time

from submitit.core.core import InfoWatcher

EVERY = 20
"""Maximum seconds between two checks of the queue; new jobs are checked more often. Cells report their ends in
their own files, so the queue matters only for jobs that end without a report."""
PATIENCE = 60.0
"""Time limit of a SLURM command, in seconds."""
LISTED = ("--states=all", "--noheader", "--array", "--format=%i|%T|%r")
"""Options of squeue: include ended jobs, and list each job of an array on its own line: number, state, reason."""
ENDED = {
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"),
    *("REVOKED", "TIMEOUT", "GONE"),
}
"""States of jobs that have ended for good. SLURM forgets a job some minutes after its end: then it is ``GONE``."""
STUCK = {
    *("PartitionTimeLimit", "PartitionNodeLimit", "BadConstraints", "InvalidAccount", "InvalidQOS", "QOSTimeLimit"),
    *("AssociationTimeLimit", "AssocMaxWallDurationPerJobLimit", "QOSMaxWallDurationPerJobLimit"),
    *("AssocMaxCpuPerJobLimit", "QOSMaxCpuPerJobLimit", "AssocMaxGRESPerJob", "QOSMaxGRESPerJob"),
    *("DependencyNeverSatisfied", "launch failed requeued held"),
}
"""Reasons for waiting that never go away."""


class Silent(Exception):
    """SLURM does not answer."""


class Squeue(InfoWatcher):  # type: ignore[misc]  # submitit is not typed here
    """The states of the jobs of one run, as a watcher for submitit.

    :param name: name of all jobs of this run, and of no others.
    """

    def __init__(self, name: str) -> None:
        super().__init__(delay_s=EVERY)
        self.name = name
        self.trouble = ""
        """Reason why the last check of the queue failed, or empty."""

    def update(self) -> None:
        """Update the states from the queue. They stay as they are while SLURM does not answer, as during a restart."""
        registered = set(self._registered)
        try:
            rows = _output("squeue", f"--user={os.getuid()}", f"--name={self.name}", *LISTED).splitlines()
        except Silent as error:
            self.trouble = str(error)
        else:
            self.trouble = ""
            fields = (row.split("|", 2) for row in rows)
            listed = {job: {"State": state, "Reason": reason} for job, state, reason in fields}
            self._info_dict = {job: {"State": "GONE", "Reason": ""} for job in registered} | listed
        self._last_status_check = time.time()

    def get_state(self, job_id: str, mode: str = "standard") -> str:
        """Return SLURM's name of a job's state.

        :param job_id: number of the job.
        :param mode: when to check the queue again, as submitit defines it.
        """
        return str(self.get_info(job_id, mode).get("State", "UNKNOWN"))

    def last(self, job_id: str) -> tuple[str, str]:
        """Return a job's state and its reason for waiting, as of the last check of the queue.

        :param job_id: number of the job.
        """
        info = self._info_dict.get(job_id, {})
        return str(info.get("State", "UNKNOWN")), str(info.get("Reason", "None"))

    def is_done(self, job_id: str, mode: str = "standard") -> bool:
        """Return whether a job has ended for good.

        :param job_id: number of the job.
        :param mode: when to check the queue again, as submitit defines it.
        """
        return self.get_state(job_id, mode) in ENDED

    def left(self) -> bool:
        """Check the queue and return whether it may still contain a job of this run."""
        self.update()
        return bool(self.trouble) or any(info["State"] not in ENDED for info in self._info_dict.values())

    def cancel(self, *how: str) -> None:
        """Cancel all jobs of this run, even those with unknown numbers because Ctrl-C interrupted their submission.

        :param how: further options of ``scancel``.
        """
        try:
            _output("scancel", "--quiet", f"--name={self.name}", *how)
        except Silent as error:
            self.trouble = str(error)


def most_cores(partition: str | None) -> int:
    """Return the number of cores of the largest node.

    :param partition: partition of the nodes; by default, all nodes of the cluster count.
    :returns: 0 for an unknown partition.
    :raises Silent: if SLURM does not answer.
    """
    options = [] if partition is None else [f"--partition={partition}"]
    return max(map(int, _output("sinfo", "--noheader", "--Node", "--format=%c", *options).split()), default=0)


def _output(*command: str) -> str:
    """Run a SLURM command, shielded from the terminal's Ctrl-C, and return its output.

    :raises Silent: if it fails.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, start_new_session=True)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Silent(f"{command[0]}: {error}") from None
    if done.returncode:
        raise Silent(plain(done.stderr) or f"{command[0]} ended with exit code {done.returncode}")
    return done.stdout


def plain(output: str) -> str:
    """Return the error messages of SLURM commands as one line, without program names.

    :param output: their standard error.
    """
    lines = [re.sub(r"^(sbatch|sinfo): (error: |fatal: )?", "", line).strip() for line in output.splitlines()]
    return "; ".join(line for line in dict.fromkeys(lines) if line)
