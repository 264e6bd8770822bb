"""The environment of a cell: package versions, state of the source, machine."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("mtlbench", "torch", "transformers", "tokenizers", "datasets", "numpy", "scipy", "scikit-learn", "pandas")


def environment(device: str = "cpu", further: Sequence[str] = ()) -> dict[str, Any]:
    """Return package versions, the git state of mtlbench's source, and the machine, as plain data.

    :param device: the device of the computation: ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    :param further: as for :func:`versions`.
    """
    return {"versions": versions(further), "git": _git(Path(__file__).parent), "machine": _machine(device)}


def versions(further: Sequence[str] = ()) -> dict[str, str]:
    """Return the versions of Python and of the packages that affect results; missing packages are left out.

    :param further: packages that affect these results, but not those of other cells.
    """
    installed = {"python": platform.python_version()}
    for package in (*PACKAGES, *further):
        try:
            installed[package] = version(package)
        except metadata.PackageNotFoundError:
            continue
    return installed


@cache
def version(package: str) -> str:
    """Return the version of an installed package. Reading it parses a file, so it is kept.

    :raises importlib.metadata.PackageNotFoundError: when the package is not installed.
    """
    return metadata.version(package)


def _git(folder: Path) -> dict[str, Any] | None:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # fails for an installed package: not in our repository
        changes = git("status", "--porcelain", "--untracked-files=no")
        return {"commit": git("rev-parse", "HEAD"), "modified": bool(changes)}
    except (OSError, subprocess.SubprocessError):
        return None


def _machine(device: str) -> dict[str, Any]:
    return {
        "system": platform.system(),
        "release": platform.release(),
        "architecture": platform.machine(),
        "processor": _processor(),
        "cores": usable_cores(),
        "gpu": _gpu(device),
    }


def _gpu(device: str) -> str | None:
    """Return the GPU's name, since "cuda" means a different device on each machine."""
    if device == "cpu":
        return None
    import torch

    return str(torch.cuda.get_device_name(device))


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
