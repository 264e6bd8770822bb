"""``tuned.json``: what is written and read, and files that are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tune_searches import REGISTRY, budget_of, play, search_of

from mtlbench.errors import UsageError
from mtlbench.grid.tuned_file import read_tuned, tuned_methods, write_tuned
from mtlbench.plan.cells import Workload
from mtlbench.tune.summary import summarize


@pytest.fixture
def file(workload: Workload, tmp_path: Path) -> Path:
    budget = budget_of(4)
    found = [(one, play(one, workload, budget)) for one in (search_of("sum"), search_of("cagrad"))]
    return write_tuned(summarize(workload, "some group", budget, found), tmp_path)


def rewritten(path: Path, change: Callable[[dict[str, Any]], Any], *, checksum: bool = True) -> Path:
    from mtlbench.plan.cells import fingerprint

    content = json.loads(path.read_text())
    change(content)
    if checksum:
        del content["checksum"]
        content["checksum"] = fingerprint(content)
    path.write_text(json.dumps(content))
    return path


def test_the_best_of_each_method_is_reported_on_other_seeds(file: Path) -> None:
    tuned = read_tuned(file)
    methods, group = tuned_methods(file, REGISTRY, [0, 1, 2])
    assert [method.name for method in methods] == ["sum", "cagrad"] and group == "some group"
    assert [method.spec for method in methods] == [one.chosen.spec for one in tuned.studies if one.chosen]
    assert tuned.lr == 1e-4 and tuned.seeds == [1_000_000] and tuned.complete
    assert {len(one.trials) for one in tuned.studies} == {tuned.trials}
    with pytest.raises(UsageError, match=r"seed 1000000 was tuned on .*: report on other seeds"):
        tuned_methods(file, REGISTRY, [0, 1_000_000])


def test_a_tuning_that_is_not_finished_is_not_reported(workload: Workload, tmp_path: Path) -> None:
    budget = budget_of(4)
    found = [
        (search_of("sum"), play(search_of("sum"), workload, budget)),
        (search_of("mgda"), search_of("mgda").trials(workload, budget, {})),
    ]
    file = write_tuned(summarize(workload, "some group", budget, found), tmp_path)
    with pytest.raises(UsageError, match=r"not finished \(sum 4 of 4, mgda 0 of 4 trials\)"):
        tuned_methods(file, REGISTRY, [0])


def test_a_method_without_a_success_is_named(workload: Workload, tmp_path: Path) -> None:
    budget = budget_of(2)
    found = [(search_of("mgda"), play(search_of("mgda"), workload, budget, lambda trial: "CellError"))]
    file = write_tuned(summarize(workload, "some group", budget, found), tmp_path)
    with pytest.raises(UsageError, match="no trial of mgda succeeded"):
        tuned_methods(file, REGISTRY, [0])


@pytest.mark.parametrize(
    ("change", "checksum", "message"),
    [
        (lambda content: content["studies"][0].update(best=3), False, "its checksum does not fit"),
        (lambda content: content.update(schema=2), True, "is of schema 2; this mtlbench reads schema 1"),
        (lambda content: content["studies"][0].pop("best"), True, "studies.0.best: Field required"),
        (lambda content: content.update(more=1), True, "more: Extra inputs are not permitted"),
    ],
)
def test_a_file_of_another_form_is_one_line(file: Path, change: Any, checksum: bool, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_tuned(rewritten(file, change, checksum=checksum))
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "[]", '{"a": 1}', "\x00"])
def test_a_file_that_is_something_else_is_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "tuned.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=r"is not a file of mtlbench tune"):
        read_tuned(path)
    with pytest.raises(UsageError, match=r"cannot read"):
        read_tuned(tmp_path / "absent.json")
