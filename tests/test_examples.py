"""Every public name has a docstring with an example, and the examples run."""

from __future__ import annotations

import copy
import doctest
import inspect
import sys
from pathlib import Path

import pytest

import mtlbench
from mtlbench.problem import metrics

EXEMPT = {
    "Vector": "a type alias, which has no docstring of its own",
    "Matrix": "a type alias, which has no docstring of its own",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all examples run in: a grid that several of them begin with is trained once."""
    return tmp_path_factory.mktemp("examples")


@pytest.mark.parametrize("name", [name for name in mtlbench.__all__ if name not in EXEMPT])
def test_public_name_has_an_example_that_runs(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(metrics, "METRICS", copy.deepcopy(metrics.METRICS))
    value = inspect.unwrap(getattr(mtlbench, name))
    assert value.__doc__, f"mtlbench.{name} has no docstring"
    tests = doctest.DocTestFinder(recurse=False).find(value, name, module=sys.modules[value.__module__], globs={})
    examples = [example for test in tests for example in test.examples]
    assert examples, f"mtlbench.{name} has no example"
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    failed = sum(runner.run(test, out=report.append).failed for test in tests)
    assert failed == 0, "".join(report)


def test_exemptions_are_public_names() -> None:
    assert EXEMPT.keys() <= set(mtlbench.__all__)
