"""Packs of the next step are made while the device computes the current one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mtlbench.plan.cells import Workload
from mtlbench.text.batches import TaskData
from mtlbench.text.inputs import Inputs
from mtlbench.text.model import MultiTaskModel
from mtlbench.text.tokens import Tokenizer

Make = Callable[..., Workload]


@pytest.fixture
def inputs(make_workload: Make) -> Inputs:
    workload = make_workload()
    model = MultiTaskModel(workload.problem.encoder, workload.problem.files, workload.tasks, 0)
    made = Tokenizer(workload.problem.encoder, workload.problem.files, 32)
    return Inputs(
        model,
        [
            TaskData.prepare(task, splits, made, seed=0, sizes=np.full(4, 4), batches=3, device="cpu")
            for task, splits in zip(workload.tasks, workload.problem.splits, strict=True)
        ],
        0,
        "cpu",
    )


def test_packs_are_made_once_a_step_and_those_of_the_next_ahead(
    inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int, int]] = []
    original = TaskData.batch

    def spy(self: TaskData, step: int, number: int = 0, *part: int) -> Any:
        asked.append((self.task.key, step, number))
        return original(self, step, number, *part)

    monkeypatch.setattr(TaskData, "batch", spy)
    for number in (0, 2):
        inputs.forward(0, number, [0, 1, 2])
    inputs.losses_after(0)
    assert asked == [(task, 0, number) for number in (0, 2) for task in ("mood", "same", "like")]
    asked.clear()
    inputs.ahead(1)
    expected = [(task, 1, number) for number in (0, 2) for task in ("mood", "same", "like")]
    assert asked == expected
    ahead = [float(one.loss.detach()) for one in inputs.forward(1, 0, [0, 1, 2])]
    assert asked == expected
    fresh = Inputs(inputs.model, inputs.data, 0, "cpu")
    assert ahead == [float(one.loss.detach()) for one in fresh.forward(1, 0, [0, 1, 2])]
