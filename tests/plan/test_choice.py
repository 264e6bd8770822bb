"""``all`` stands for every method that applies to a problem."""

from __future__ import annotations

import pytest

from mtlbench.errors import UsageError
from mtlbench.plan.cells import Workload
from mtlbench.plan.choice import applicable, choose_methods, with_all
from mtlbench.plugins.registry import load_registry
from mtlbench.recipe.suite import load_suite


@pytest.fixture(scope="module")
def workload() -> Workload:
    recipe = load_suite("digits").recipe({"problem": "digits[rows=10,dev_rows=10]"})
    return Workload.load("digits", recipe, load_registry())


def test_all_leaves_out_what_two_tasks_do_not_allow_and_says_why(
    workload: Workload, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = load_registry()
    names = [method.name for method in applicable(registry, workload)]
    assert names[:2] == ["stl", "sum"]
    assert set(registry.catalogue()) - set(names) == {"krum", "trimmed-mean"}
    said = " ".join(capsys.readouterr().err.split())
    assert "--methods all leaves out krum: method krum needs at least 4 tasks, got 2" in said
    assert "leaves out trimmed-mean" in said and "leaves out sum" not in said


def test_all_stands_beside_other_specs(workload: Workload) -> None:
    registry, specs = load_registry(), "cagrad[c=0.2],all,sum"
    named = choose_methods(specs, registry)
    assert [method.spec for method in named] == ["cagrad[c=0.2]", "sum"]
    methods = [method.spec for method in with_all(named, specs, registry, workload)]
    assert len(methods) == len(set(methods)) == len(registry.catalogue()) - 2 + 1
    assert "cagrad[c=0.2]" in methods and "cagrad" in methods
    assert with_all(named, "cagrad[c=0.2],sum", registry, workload) == named


def test_only_a_list_without_specs_is_empty() -> None:
    assert choose_methods("all", load_registry()) == []
    with pytest.raises(UsageError, match="give at least one method"):
        choose_methods(" ", load_registry())
    with pytest.raises(UsageError, match="unknown method 'al'"):
        choose_methods("al", load_registry())
