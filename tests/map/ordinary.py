"""A plain loop with surgery on a point of the map, to compare with the batched trainer."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mtlbench import Examples, Surgery, get_method
from mtlbench.map.agreement import flat
from mtlbench.map.cells import Column, Setting
from mtlbench.problem.hooks import Hooks
from mtlbench.problem.schedule import batch_schedule
from mtlbench.training.optimizer import schedule

Weights = NDArray[np.float64]
Cells = dict[tuple[int, int, int], Weights]
"""(setting, seed, column), by number → the weights of a cell's network."""


def looped_weights(setting: Setting, column: Column, seed: int) -> Weights:
    """Train a cell in a plain loop with :class:`mtlbench.Surgery` in float64, and return its weights."""
    return flat(looped_model(setting, column, seed).state_dict(), setting.tasks)


def looped_model(setting: Setting, column: Column, seed: int, stop: int | None = None) -> Any:
    """Train a cell in a plain loop, to the end or for some steps, and return its model."""
    problem = setting.problem(seed, "float64")
    targets = problem.targets()
    model: Any = Hooks(problem, targets).model(seed, torch.device("cpu"))
    parameters = list(model.parameters())
    optimizer: torch.optim.Optimizer
    if setting.optimizer == "adam":
        optimizer = torch.optim.AdamW(parameters, lr=column.lr, weight_decay=0.0)
    else:
        optimizer = torch.optim.SGD(parameters, lr=column.lr, momentum=0.9 * (setting.optimizer == "momentum"))
    factor = schedule("linear", setting.steps)
    weights = column.weights or (1.0,) * setting.tasks
    surgery = None
    if column.method != "sum":
        surgery = Surgery(model["trunk"], get_method(column.method, seed=seed), tasks=setting.tasks)
    batches = batch_schedule(seed, "", setting.rows, setting.steps * setting.batch).reshape(setting.steps, -1)
    for step, numbers in enumerate(batches[:stop]):
        optimizer.param_groups[0]["lr"] = column.lr * factor(step)
        optimizer.zero_grad()
        losses = losses_of(setting, model, seed, numbers)
        if surgery is not None:
            surgery.loss(losses).backward()
        else:
            total = sum(weight * loss for weight, loss in zip(weights, losses, strict=True))
            total = losses[column.single] if column.single is not None else total
            (total.log() if column.step_rule == "log" else total).backward()
            if column.step_rule == "unit":
                shared = [parameter.grad for parameter in model["trunk"].parameters()]
                length = torch.cat([gradient.flatten() for gradient in shared]).norm()
                for gradient in shared:
                    gradient /= length
        optimizer.step()
    return model


@cache
def train_rows(setting: Setting, seed: int) -> Examples:
    """Return the training rows in float64."""
    return setting.problem(seed, "float64").load(None).train


def losses_of(setting: Setting, model: Any, seed: int, numbers: NDArray[np.int64]) -> list[torch.Tensor]:
    """Return the losses of some training rows."""
    problem = setting.problem(seed, "float64")
    data, targets = train_rows(setting, seed), problem.targets()
    outputs = problem.outputs(model, data.take(numbers), [target.name for target in targets])
    labels = [torch.from_numpy(data.labels[target.name][numbers, None]).float() for target in targets]
    return [problem.loss(target, outputs[target.name], part) for target, part in zip(targets, labels, strict=True)]


def distance(first: Weights, second: Weights) -> float:
    """Return the distance of two networks' weights, relative to their length."""
    return float(np.linalg.norm(first - second) / np.linalg.norm(second))
