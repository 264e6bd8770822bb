"""``mtlbench overfit`` on problems: every kind of task, learned by heart or not, with a reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import command_line
from problem_runs import APART, PLUGIN, POINTS, write_suite

from mtlbench.grid.overfit import BY_HEART

UNLEARNABLE = '''
from dataclasses import dataclass
import torch
from tiny_problems import Points

@dataclass
class Deaf(Points):
    """Some losses do not read their labels."""
    name = "deaf"
    def loss(self, target, outputs, labels):
        if target.name in ("sum", "side"):
            return (outputs - 1.0).square().mean() + 1.0
        return super().loss(target, outputs, labels)
'''


@pytest.fixture(autouse=True)
def threads_as_before() -> Any:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("problem", [POINTS, APART])
def test_every_kind_of_task_is_learned_by_heart(problem: str, tmp_path: Path) -> None:
    suite = write_suite(tmp_path, problem, sampling="sqrt" if problem == APART else "uniform")
    done = command_line("overfit", "--suite", suite, "--plugin", PLUGIN, "--steps", "250", "--json")
    tasks = {task["task"]: task for task in json.loads(done.stdout)["tasks"]}
    assert done.returncode == 0, tasks
    metrics = {"side": "accuracy", "sum": "r2", "signs": "micro_f1", "place": "r2"}
    assert {name: task["metric"] for name, task in tasks.items()} == metrics
    for task in tasks.values():
        assert task["rows"] == 16 and BY_HEART <= task["score"] <= 1.0 and task["last"] < 0.2 * task["first"]


def test_what_cannot_be_learned_is_named(tmp_path: Path) -> None:
    plugin = tmp_path / "deaf.py"
    plugin.write_text(UNLEARNABLE)
    suite = write_suite(tmp_path, "deaf")
    done = command_line("overfit", "--suite", suite, "--plugin", plugin, "--steps", "250")
    text = " ".join(done.stdout.split())
    assert done.returncode == 1 and "deaf, 250 steps on one batch of a task" in text
    missed = text.partition("Not learned by heart")[2]
    assert "side: the loss falls, but not far enough" in missed and "sum: the loss" in missed
    assert "signs:" not in missed and "place:" not in missed
    assert "text" not in text and "encoder" not in text
