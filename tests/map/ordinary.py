"""The ordinary trainer on a point of the map, and a plain loop with surgery, to compare with the batched trainer."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mtlbench import Examples, Surgery, get_method
from mtlbench.map.cells import Column, Setting
from mtlbench.map.clock import Clock
from mtlbench.map.family import Instances
from mtlbench.map.trainer import Block
from mtlbench.plan.cells import Workload
from mtlbench.plugins.registry import load_registry
from mtlbench.problem.hooks import Hooks
from mtlbench.problem.schedule import batch_schedule
from mtlbench.recipe.suite import Recipe
from mtlbench.training.optimizer import schedule
from mtlbench.training.train import Training

Weights = NDArray[np.float64]
Cells = dict[tuple[int, int, int], Weights]
"""(setting, seed, column), by number → the weights of a cell's network."""


def flat(state: dict[str, torch.Tensor], tasks: int) -> Weights:
    """Return a model's weights in the order of the batched trainer: inputs × units, bias, heads."""
    parts = [state["trunk.0.weight"].T, state["trunk.0.bias"][None]]
    parts += [state[f"heads.task{task}.weight"] for task in range(tasks)]
    return torch.cat([part.detach().double().flatten() for part in parts]).numpy()


def training_of(setting: Setting, column: Column, seed: int, precision: str = "float64") -> Training:
    """Return the ordinary trainer of a cell."""
    recipe = Recipe(
        problem=setting.problem(seed, precision).spec,
        steps=setting.steps,
        batch_size=setting.batch,
        lr=column.lr,
        lr_schedule="linear",
        weight_decay=0.0,
        measure_every=setting.steps + 1,
    )
    registry = load_registry()
    workload = Workload.load("map", recipe, registry)
    spec = column.method
    if column.weights is not None:
        spec = f"fixed[w={':'.join(map(repr, column.weights))}]"
    return Training(workload, registry.method("stl" if column.single is not None else spec), seed)


def trained_weights(setting: Setting, column: Column, seed: int) -> Weights:
    """Train a cell with the ordinary trainer in float64, and return its weights."""
    training = training_of(setting, column, seed)
    for done in training.run():
        if done == setting.steps * ((column.single or 0) + 1):  # the end of one model
            return flat(training.state_dict()["current"]["model"], setting.tasks)
    raise AssertionError("the training ended early")


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


def batched_weights(settings: list[Setting], seeds: list[int], columns: list[Column]) -> Cells:
    """Train cells together in float64, and return the weights of each."""
    pairs = [(setting, seed) for setting in settings for seed in seeds]
    block = Block(Instances.of(pairs, "float64"), columns, Clock())
    block.run()
    return {
        (*divmod(number, len(seeds)), position): group.networks.values[number, :, place].numpy().copy()
        for group in block.groups
        for place, position in enumerate(group.positions)
        for number in range(len(pairs))
    }


def distance(first: Weights, second: Weights) -> float:
    """Return the distance of two networks' weights, relative to their length."""
    return float(np.linalg.norm(first - second) / np.linalg.norm(second))
