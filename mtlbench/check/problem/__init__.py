"""The certificate of a problem: is it deterministic, paired between methods, resumable, and told apart rightly?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mtlbench.plugins.registry import load_registry

if TYPE_CHECKING:
    from mtlbench.check.problem.certificate import ProblemCertificate


def check_problems(
    specs: Sequence[str], *, plugin_files: tuple[str, ...] = (), data_dir: Path | None = None
) -> list[ProblemCertificate]:
    """Check problems: train each a few steps on the CPU, again and again, and compare the bits.

    :param specs: names or specs of problems.
    :param plugin_files: files that define further problems.
    :param data_dir: folder of data files.
    :raises UsageError: for an unknown name, a wrong parameter, or data that is not there.
    """
    import torch

    from mtlbench.check.problem.certificate import certify_problem, try_data

    registry = load_registry(plugin_files)
    for spec in specs:
        registry.problem(spec)  # an unknown name is an error before the first check
    for spec in specs:
        try_data(spec, registry, data_dir)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [certify_problem(spec, registry, data_dir) for spec in specs]
    finally:
        torch.set_num_threads(threads)
