"""Time and memory of a training step."""

from __future__ import annotations

import ctypes
import platform
import statistics
import sys
from pathlib import Path
from typing import Any

import torch

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_MMAP_THRESHOLD = -3
"""M_MMAP_THRESHOLD of mallopt(3)."""


class PeakMemory:
    """The most memory in use since the meter was made, in bytes.

    On a GPU, what torch's allocator held there; on the CPU, the resident memory of the process, which includes the
    libraries. Where the system cannot reset its high-water mark (not Linux), the mark of the whole process counts.
    """

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        elif _CLEAR.exists():
            _CLEAR.write_text("5")  # proc(5): reset the peak resident set size

    def read(self) -> int:
        """Return the peak so far."""
        if self._device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self._device))
        if _STATUS.exists():
            line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
            return int(line.split()[1]) * 1024
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def give_memory_back() -> None:
    """Let the C library return blocks of a megabyte and more to the system as soon as they are freed.

    Otherwise glibc keeps what it has once had, in pieces that large tensors do not fit into: a process then holds
    twice the memory that it uses. Costs about 5 % of the time of a step. Other C libraries are left alone.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, 1_000_000)


def summarize_cost(runs: list[dict[str, Any]]) -> dict[str, float | int | None]:
    """Return the cost of one step from each model's step times (one model, or one per task).

    :param runs: objects with ``seconds`` (those of the steps without measurements) and ``peak_memory_bytes``.
    """
    times = [statistics.median(run["seconds"]) for run in runs if run["seconds"]]
    peaks = [run["peak_memory_bytes"] for run in runs if run["peak_memory_bytes"] is not None]
    return {
        "seconds_per_step": sum(times) if len(times) == len(runs) else None,
        "peak_memory_bytes": max(peaks) if peaks else None,
    }
