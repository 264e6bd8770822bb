"""The verb ``check``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from mtlbench.api.arguments import PathName, Words, check_whole, data_folder, list_of, plugin_files
from mtlbench.contract.spec import split_specs

if TYPE_CHECKING:
    from mtlbench.check.command import CheckResult


def check(
    names: Words = (),
    *,
    every: bool = False,
    matrices: int = 20,
    jobs: int = 1,
    foreign: str | None = None,
    as_: str | None = None,
    data_dir: PathName | None = None,
    plugin: PathName | Iterable[PathName] = (),
) -> CheckResult:
    """Verify methods (finite, resumable, true to their claims) or problems, as ``mtlbench check`` does.

    :param names: methods, problems, or Python files that define some: a list, or a text with commas.
    :param every: whether to check every method (``--all``).
    :param matrices: matrices per family in each check.
    :param jobs: methods to check at a time; keep 1 for reliable timings.
    :param foreign: code of others instead: ``"module:Class"``, ``"file.py:function"``.
    :param as_: the method that the foreign code claims to be.
    :param data_dir: folder with problems' data files.
    :param plugin: Python file or files that define methods or problems.
    :returns: ``.methods`` and ``.problems``, a certificate of each, and ``.passed``.
    :raises UsageError: for an unknown name, a wrong argument, or foreign code that cannot be loaded.

    >>> import mtlbench
    >>> checked = mtlbench.check("sum", matrices=2)
    >>> checked.passed, checked.methods[0].results[0].check
    (True, 'finite')
    """
    from mtlbench.check.command import CheckRequest, run_check

    check_whole(matrices=matrices, jobs=jobs)
    listed = split_specs(names) if isinstance(names, str) else list_of("names", names)
    folder = data_folder(data_dir)
    return run_check(CheckRequest(listed, every, matrices, jobs, foreign, as_, folder, plugin_files(plugin)))
