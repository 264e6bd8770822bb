"""The doctor on problems: it examines their rows and outputs, and speaks of no texts and no encoder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from problem_runs import APART, POINTS, train, workload_of
from test_diagnose import FAULTS, Change, cell, codes, head

from mtlbench.diagnose import diagnose
from mtlbench.diagnose.text import to_blocks, to_json
from mtlbench.records.record import check_record
from mtlbench.report.text import render

FOREIGN = ("text", "encoder", "token", "max_length")
"""Words that have no meaning for a problem."""


def problem(change: Change = lambda made: None) -> Change:
    """Make a cell one of a problem: nothing is cut, and numbers are in the labels' own unit."""

    def changed(made: dict[str, Any]) -> None:
        record = made["record"]
        record["recipe"] |= {"model": "", "problem": "points[frozen=true]"}
        record["encoder"]["spec"] = "points[frozen=true]"
        record["cut"] = {}
        record["engine"] = {"name": "surgery", "reason": None}
        for task in record["tasks"].values():
            del task["audit"]["shared"]
            task["floors"] = {metric: [{"name": "constant", "value": 0.6}] for metric in task["metrics"]}
        change(made)

    return changed


def said(records: list[dict[str, Any]]) -> str:
    return " ".join(render(to_blocks(diagnose(records))).split())


@pytest.mark.parametrize("spec", [POINTS, APART])
def test_cells_of_problems_are_examined(spec: str, tmp_path: Path) -> None:
    records = train(tmp_path, workload_of(spec, steps=60, measure_every=5, evaluations=3), seeds=(0, 1, 2))
    for record in records:
        check_record({name: value for name, value in record.items() if name != "path"})
    text = said(records)
    assert "Cells of 3 methods: 9 finished" in text and "Not examined" not in text
    assert not any(word in text.lower() for word in FOREIGN)
    assert all(finding.severity != "error" for _, findings in diagnose(records) for finding in findings)


TEXTS_ONLY = {"frozen", "cut texts", "apart"}


@pytest.mark.parametrize("name", sorted(FAULTS.keys() - TEXTS_ONLY))
def test_a_fault_of_a_problem_is_named_and_nothing_else(name: str, tmp_path: Path) -> None:
    code, change = FAULTS[name]
    records = [cell(tmp_path, problem(change))]
    assert codes(records) == {code}
    assert not any(word in said(records).lower() for word in FOREIGN)


def test_healthy_cells_of_a_problem_have_no_finding(tmp_path: Path) -> None:
    assert codes([cell(tmp_path, problem())], notes=True) == set()


def test_a_first_loss_is_the_authors_choice(tmp_path: Path) -> None:
    ((_, (finding,)),) = diagnose([cell(tmp_path, problem(FAULTS["first loss"][1]))])
    assert (finding.severity, finding.sure) == ("warning", "possible")
    assert "initial weights" in finding.fix


@pytest.mark.parametrize(
    ("change", "dead"),
    [
        (lambda values, labels: 0.01 * values, True),
        (lambda values, labels: 0.5 * values, False),
    ],
)
@pytest.mark.parametrize("unit", [1e-3, 1e3])
def test_a_dead_head_is_told_in_the_labels_unit(
    change: Callable[[Any, Any], Any], dead: bool, unit: float, tmp_path: Path
) -> None:
    """Numbers of a problem are in the labels' unit; in any other, small labels would look like a dead head."""

    def in_unit(made: dict[str, Any]) -> None:
        head("like", change)(made)
        values, labels = made["outputs"]["like"]
        made["outputs"]["like"] = (unit * values, unit * labels)

    assert codes([cell(tmp_path, problem(in_unit))]) == ({"dead-head"} if dead else set())


def test_rows_that_leak_are_found(tmp_path: Path) -> None:
    workload = workload_of()
    splits = workload.problem.splits  # type: ignore[attr-defined]
    splits["dev"] = splits["train"].picked(np.arange(40))
    found = [finding for _, findings in diagnose(train(tmp_path, workload, ["sum"], [0])) for finding in findings]
    assert {finding.tasks[0] for finding in found if finding.code == "leakage"} == {"side", "sum", "signs", "place"}


ON_DEMAND = '''
from dataclasses import dataclass
import numpy as np
import torch
from mtlbench import Data, Examples, Problem, Target

class Files:
    fingerprint = "files"
    def __init__(self, count):
        self.values = np.random.default_rng(count).normal(size=(count, 3)).astype(np.float32)
    def __len__(self):
        return len(self.values)
    def __getitem__(self, rows):
        return self.values[rows]

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk, self.a, self.b = torch.nn.Linear(3, 4), torch.nn.Linear(4, 1), torch.nn.Linear(4, 1)
    def forward(self, x):
        features = self.trunk(x).tanh()
        return {"a": self.a(features), "b": self.b(features)}

@dataclass
class Lazy(Problem):
    """Reads rows on demand."""
    name = "lazy"
    def targets(self):
        return [Target("a", "regression"), Target("b", "regression")]
    def load(self, data_dir):
        def rows(count):
            files = Files(count)
            return Examples(files, {"a": files.values[:, 0], "b": files.values[:, 1]})
        return Data(rows(60), rows(30))
    def model(self, targets):
        return Net()
'''


def test_what_cannot_be_examined_is_told(tmp_path: Path) -> None:
    plugin = tmp_path / "lazy.py"
    plugin.write_text(ON_DEMAND)
    records = train(tmp_path / "results", workload_of("lazy", plugin=str(plugin)), ["sum"], [0])
    found = diagnose(records)
    text = " ".join(render(to_blocks(found)).split())
    assert "rows are not compared where a problem reads its inputs on demand: leakage, duplicates" in text
    (group,) = json.loads(to_json(found))["groups"]
    assert group["not_measured"] == ["duplicates", "leakage"]
    assert "not_measured" not in json.loads(to_json(diagnose([cell(tmp_path, problem())])))["groups"][0]
