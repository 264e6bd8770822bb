"""Run every check on one problem."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mtlbench.check.problem import examine
from mtlbench.check.problem.parts import Part, parts_of, told_apart
from mtlbench.check.problem.subject import Subject
from mtlbench.check.result import Result, not_claimed
from mtlbench.errors import CellError, UsageError, said
from mtlbench.plugins.registry import Registry
from mtlbench.problem.loaded import LoadedProblem
from mtlbench.problem.splits import lacks_folder

Checked = Result | list[Result]


@dataclass(frozen=True)
class ProblemCertificate:
    """The results of all checks on one problem.

    :param problem: the problem's spec.
    :param results: one result per check.
    :param parts: the parts of its model; empty if they cannot be told apart.
    """

    problem: str
    results: list[Result]
    parts: list[Part] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether every check passed or does not apply."""
        return all(result.passed is not False for result in self.results)


def certify_problem(spec: str, registry: Registry, data_dir: Path | None) -> ProblemCertificate:
    """Run every check on one problem. An exception in a check fails that check.

    :param spec: the problem's spec.
    :param registry: the plugins in which it is found.
    :param data_dir: folder of data files.
    """
    subject = Subject(spec, registry, data_dir)
    parts: list[Part] = []

    def model() -> Checked:
        parts.extend(parts_of(subject))
        return told_apart(subject, parts)

    needed: list[tuple[str, Callable[[], Checked]]] = [("data", lambda: _data(subject)), ("shared and heads", model)]
    others: list[tuple[str, Callable[[], Checked]]] = [
        ("model", lambda: examine.initial(subject)),
        ("batches", lambda: examine.batches(subject)),
        ("repeatable", lambda: examine.repeated(subject)),
        ("pairing", lambda: examine.paired(subject)),
        ("single task", lambda: examine.single_task(subject)),
        ("resume", lambda: examine.resumed(subject)),
        ("evaluation", lambda: examine.evaluated(subject)),
        ("methods", lambda: examine.families(subject)),
        ("rows unchanged", lambda: _unchanged(subject)),
        ("step time", lambda: examine.timed(subject)),
    ]
    results: list[Result] = []
    for name, check in needed:
        results += attempt(name, check)
        if any(result.passed is False for result in results):
            skipped = [name for name, _ in [*needed, *others] if name not in {result.check for result in results}]
            return ProblemCertificate(spec, results + [not_claimed(name, "not tried") for name in skipped], parts)
    for name, check in others:
        results += attempt(name, check)
    return ProblemCertificate(spec, results, parts)


def try_data(spec: str, registry: Registry, data_dir: Path | None) -> None:
    """Load a problem's rows, for faults that are not the author's: data that is not there.

    :param spec: the problem's spec.
    :param registry: the plugins in which it is found.
    :param data_dir: folder of data files.
    :raises UsageError: the author's own, from ``load``; and one that asks for ``--data-dir`` where that is missing.
    """
    problem = registry.problem(spec)
    try:
        problem.load(data_dir)
    except UsageError:
        raise
    except (Exception, SystemExit) as error:  # other faults fail the check of the data
        if data_dir is None and lacks_folder(error):
            Subject(spec, registry, None).load()  # raises


def attempt(name: str, check: Callable[[], Checked]) -> list[Result]:
    """Run a check; an exception counts as its failure.

    :param name: the name of the check.
    :param check: the check.
    """
    try:
        outcome = check()
    except (UsageError, CellError) as error:
        outcome = Result(name, False, str(error))
    except (Exception, SystemExit) as error:  # a problem under test may raise anything
        outcome = Result(name, False, said(error))
    return outcome if isinstance(outcome, list) else [outcome]


def _data(subject: Subject) -> Result:
    """Load the rows twice."""
    first, second = subject.loaded, subject.load().problem
    assert isinstance(second, LoadedProblem)
    if first.fingerprint != second.fingerprint:
        return Result("data", False, "load() returns other rows the second time: give its random numbers a fixed seed")
    rows = ", ".join(f"{len(split)} {name}" for name, split in first.splits.items())
    return Result("data", True, f"{rows}: the same rows when loaded again")


def _unchanged(subject: Subject) -> Result:
    """Compare the rows after all other checks with those that were loaded."""
    if subject.loaded.hash_rows() != subject.loaded.fingerprint:
        return Result("rows unchanged", False, "training or evaluation writes to the loaded rows: work on copies")
    return Result("rows unchanged", True, "training and evaluation do not write to the loaded rows")
