"""``mtlbench check``: find what is to be checked, and check it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mtlbench.check import check_methods, find_subjects
from mtlbench.errors import UsageError

if TYPE_CHECKING:
    from mtlbench.check.certificate import Certificate
    from mtlbench.check.problem.certificate import ProblemCertificate


@dataclass(frozen=True)
class CheckRequest:
    """Options of ``mtlbench check``.

    :param names: names or specs of methods and problems, and Python files that define some.
    :param every: whether to check every method.
    :param matrices: matrices per family in each check.
    :param jobs: methods to check at a time.
    :param foreign: code of others to check in place of ``names``; ``None``: none.
    :param claimed: spec of the method that the foreign code claims to be; ``None``: what its shape says.
    :param data_dir: folder of problems' data files.
    :param plugin_files: Python files that define further methods and problems.
    """

    names: Sequence[str] = ()
    every: bool = False
    matrices: int = 20
    jobs: int = 1
    foreign: str | None = None
    claimed: str | None = None
    data_dir: Path | None = None
    plugin_files: tuple[str, ...] = ()


@dataclass(frozen=True)
class CheckResult:
    """Certificates of methods, or of foreign code, and of problems."""

    methods: list[Certificate]
    problems: list[ProblemCertificate]

    @property
    def passed(self) -> bool:
        """Whether every check passed or does not apply."""
        return all(one.passed for one in self.methods) and all(one.passed for one in self.problems)


def run_check(request: CheckRequest) -> CheckResult:
    """Check what a request names.

    :raises UsageError: for an unknown name, options that contradict each other, or foreign code that cannot be loaded.
    """
    if request.data_dir is not None and not request.data_dir.is_dir():
        raise UsageError(f"data folder {request.data_dir} does not exist")
    if request.foreign is not None:
        from mtlbench.check.foreign import check_foreign

        if request.names or request.every or request.jobs != 1:
            raise UsageError("--foreign checks one implementation: leave out method names, --all and --jobs")
        foreign = check_foreign(request.foreign, request.claimed, request.plugin_files, request.matrices)
        return CheckResult([foreign], [])
    if request.claimed is not None:
        raise UsageError("--as says what --foreign code claims to be: give --foreign module:Class, too")
    from mtlbench.check.problem import check_problems

    subjects = find_subjects(request.names, every=request.every, plugin_files=request.plugin_files)
    files = subjects.plugin_files
    methods: list[Certificate] = []
    if subjects.methods:
        methods = check_methods(
            subjects.methods, every=False, plugin_files=files, matrices=request.matrices, jobs=request.jobs
        )
    return CheckResult(methods, check_problems(subjects.problems, plugin_files=files, data_dir=request.data_dir))
