"""All packaged problems: their descriptions, and how fast they are found."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mtlbench.contract.plugin import describe_parameters
from mtlbench.plugins.registry import load_registry


@pytest.mark.parametrize("name", ["columns", "digits", "regimes"])
def test_every_problem_says_its_source_its_summary_and_its_parameters(name: str) -> None:
    cls = load_registry().problems[name]
    assert cls.source and cls.summary().endswith(".")
    assert all(parameter["description"] for parameter in describe_parameters(cls))


def test_no_problem_has_the_name_of_a_task() -> None:
    """``mtlbench info NAME`` means one of them."""
    registry = load_registry()
    assert not registry.problems.keys() & registry.tasks.keys()


def test_finding_problems_imports_nothing_heavy() -> None:
    code = (
        "import sys; from mtlbench.plugins.registry import load_registry; registry = load_registry();"
        "registry.problem('digits').targets(); registry.problem('regimes').load(None);"
        "print(registry.broken, {'torch', 'pandas', 'pyarrow', 'sklearn', 'scipy', 'PIL'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[] set()"
