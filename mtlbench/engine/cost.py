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
    """Meter of the peak memory since its creation, in bytes.

    On a GPU, it reads the memory held by torch's allocator; on the CPU, the resident memory of the process, libraries
    included. Where the system cannot reset its high-water mark (outside Linux), it reads the peak of the whole process.

    :param device: ``"cpu"``, ``"cuda"`` or ``"cuda:1"``, as torch spells them.
    """

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        elif _CLEAR.exists():
            _CLEAR.write_text("5")  # proc(5): reset the peak resident set size

    def read(self) -> int:
        """Return the peak so far, in bytes."""
        if self._device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self._device))
        if _STATUS.exists():
            line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
            return int(line.split()[1]) * 1024
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def give_memory_back() -> None:
    """Make glibc return blocks of a megabyte or more to the system as soon as they are freed.

    By default glibc retains freed memory in pieces too small for large tensors, and the process holds twice the memory
    that it uses. This costs about 5 % of the time of a step. It has no effect with other C libraries.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, 1_000_000)


def summarize_cost(runs: list[dict[str, Any]]) -> dict[str, float | int | None]:
    """Return the cost of one step, summed over the models of a cell (one model, or one per task).

    :param runs: for each model, ``seconds`` (of the steps without measurements) and ``peak_memory_bytes``.
    :returns: ``seconds_per_step``, the sum of the models' medians, and ``peak_memory_bytes``, the largest peak; each
        is ``None`` where it was not measured.
    """
    times = [statistics.median(run["seconds"]) for run in runs if run["seconds"]]
    peaks = [run["peak_memory_bytes"] for run in runs if run["peak_memory_bytes"] is not None]
    return {
        "seconds_per_step": sum(times) if len(times) == len(runs) else None,
        "peak_memory_bytes": max(peaks) if peaks else None,
    }
