"""``mtlbench overfit``: healthy tasks learn their batch, and planted faults are named."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from mtlbench.contract.task import Rows
from mtlbench.grid.command import RunRequest
from mtlbench.grid.overfit import run_overfit
from mtlbench.text.problem import one_batch

STEPS = 100
SUITE = """
description = "One batch"
methods = ["sum"]
seeds = 1
tasks = [{tasks}]
model = "{model}[layers=1]"
steps = 2
batch_size = 8
lr = 5e-3
evaluations = 2
sampling = "proportional"
test_rows = 4
"""
BROKEN = '''
from mtlbench.tasks.table import Table

class Deaf(Table):
    """Its loss depends on the outputs, and not on the labels."""
    name = "deaf"
    def loss(self, outputs, targets):
        return outputs.square().mean()

class Detached(Table):
    """No gradient comes back from its loss."""
    name = "detached"
    def loss(self, outputs, targets):
        return super().loss(outputs.detach(), targets) + 0.0 * outputs.sum()

class Endless(Table):
    """Its loss is not a number."""
    name = "endless"
    def loss(self, outputs, targets):
        return super().loss(outputs, targets) + float("nan")
'''


@pytest.fixture
def ask(tmp_path: Path, tiny_bert: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]):
    """A function that runs the command on tasks, and returns the exit code and task → printed result."""

    def asked(tasks: Sequence[str], plugin: str | None = None, **changes):
        suite = tmp_path / "one.toml"
        suite.write_text(SUITE.format(tasks=", ".join(f'"{task}"' for task in tasks), model=tiny_bert))
        files = ()
        if plugin is not None:
            (tmp_path / "broken.py").write_text(plugin)
            files = (str(tmp_path / "broken.py"),)
        request = RunRequest(
            str(suite), None, None, data_dir, tmp_path / "none", files, changes={"steps": STEPS, **changes}
        )
        code = run_overfit(request, as_json=True, width=None, color=False)
        assert not (tmp_path / "none").exists()
        return code, {result["task"]: result for result in json.loads(capsys.readouterr().out)["tasks"]}

    return asked


def test_healthy_tasks_learn_their_batch(ask, table_tasks: tuple[str, ...]) -> None:
    code, results = ask(table_tasks)
    assert code == 0
    assert {result["verdict"] for result in results.values()} == {"learned by heart"}
    assert all(r["score"] >= 0.95 and r["last"] < r["first"] and r["rows"] == 8 for r in results.values())


def test_what_stands_between_rows_and_weights_is_named(ask, table_tasks: tuple[str, ...]) -> None:
    names = ("deaf", "detached", "endless")
    tasks = [table_tasks[0].replace("table[called=mood", f"{name}[called={name}") for name in names]
    code, results = ask([*tasks, table_tasks[2]], BROKEN)
    assert code == 1
    assert "the labels do not fit the loss" in results["deaf"]["verdict"]
    assert "the loss does not fall" in results["detached"]["verdict"]
    assert "step 1" in results["endless"]["verdict"] and results["endless"]["score"] is None
    assert results["like"]["by_heart"], "one task's fault is not another's"


def test_a_learning_rate_that_moves_nothing_is_named(ask, table_tasks: tuple[str, ...]) -> None:
    code, results = ask(table_tasks[:1], lr=1e-9)
    assert code == 1
    assert "the loss does not fall" in results["mood"]["verdict"]


def test_a_batch_has_no_text_twice_and_two_labels_where_there_are_two() -> None:
    rows = Rows([(f"text {n // 2}",) for n in range(40)], np.array([0] * 38 + [1] * 2))
    batch = one_batch(rows, 8, "any")
    assert len(set(batch.texts)) == len(batch) == 8
    assert set(batch.labels.tolist()) == {0, 1}
    assert list(one_batch(rows, 8, "any").texts) == list(batch.texts)
    assert len(one_batch(rows, 99, "any")) == 20
    assert set(one_batch(rows.picked(np.arange(38)), 8, "any").labels.tolist()) == {0}


def test_what_a_person_reads(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, tiny_bert: Path, data_dir: Path, table_tasks: tuple[str, ...]
) -> None:
    (tmp_path / "one.toml").write_text(SUITE.format(tasks=f'"{table_tasks[0]}"', model=tiny_bert))
    request = RunRequest(str(tmp_path / "one.toml"), None, None, data_dir, tmp_path / "none", changes={"steps": STEPS})
    assert run_overfit(request, as_json=False, width=100, color=False) == 0
    text = capsys.readouterr().out
    assert "learned by heart" in text and "Every task's batch was learned by heart." in text
