"""Train cells of the map with the ordinary trainer too, and compare the networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from mtlbench.contract.observation import Vector
from mtlbench.errors import UsageError
from mtlbench.map.cells import Column, Setting
from mtlbench.map.clock import Clock
from mtlbench.map.family import Instances
from mtlbench.map.trainer import Block
from mtlbench.plan.cells import Workload
from mtlbench.plugins.registry import load_registry
from mtlbench.recipe.suite import Recipe
from mtlbench.training.train import Training


def disagreements(setting: Setting, seed: int, columns: Sequence[Column], precision: str = "float64") -> list[float]:
    """Train cells together, and each alone with the ordinary trainer, and return how far the networks are apart.

    >>> from mtlbench.map.agreement import disagreements
    >>> from mtlbench.map.cells import Column, Setting
    >>> disagreements(Setting(steps=5), 0, [Column("pcgrad", 0.01)])[0] < 1e-9
    True

    :param setting: the setting, with Adam.
    :param seed: the seed.
    :param columns: the columns, none with a step rule: the ordinary trainer has none.
    :param precision: "float64" or "float32".
    :returns: for each column ‖w − w'‖ / ‖w'‖, w and w' being all weights of the two networks.
    :raises UsageError: for what the ordinary trainer does not have.
    """
    batched = batched_weights([setting], [seed], columns, precision)
    found = []
    for position, column in enumerate(columns):
        alone = ordinary_weights(setting, column, seed, precision)
        found.append(float(np.linalg.norm(batched[0, 0, position] - alone) / np.linalg.norm(alone)))
    return found


def batched_weights(
    settings: Sequence[Setting], seeds: Sequence[int], columns: Sequence[Column], precision: str = "float64"
) -> dict[tuple[int, int, int], Vector]:
    """Train cells together, and return all weights of each network.

    :param settings: settings of one shape.
    :param seeds: the seeds.
    :param columns: the columns.
    :param precision: "float64" or "float32".
    :returns: (setting, seed, column), by number → the weights: inputs × units, biases, heads.
    """
    pairs = [(setting, seed) for setting in settings for seed in seeds]
    block = Block(Instances.of(pairs, precision), columns, Clock())
    block.run()
    return {
        (*divmod(number, len(seeds)), position): group.networks.values[number, :, place].double().numpy()
        for group in block.groups
        for place, position in enumerate(group.positions)
        for number in range(len(pairs))
    }


def ordinary_weights(setting: Setting, column: Column, seed: int, precision: str = "float64") -> Vector:
    """Train a cell with the trainer of ``mtlbench run``, in this process, and return all weights of its network.

    :param setting: the setting, with Adam.
    :param column: the column, without a step rule.
    :param seed: the seed.
    :param precision: "float64" or "float32".
    :returns: the weights in the order of :func:`batched_weights`.
    :raises UsageError: for what the ordinary trainer does not have.
    """
    training = ordinary_training(setting, column, seed, precision)
    end = setting.steps * ((column.single or 0) + 1)  # one model after the other
    for done in training.run():
        if done == end:
            return flat(training.state_dict()["current"]["model"], setting.tasks)
    raise AssertionError("training ended early")


def ordinary_training(setting: Setting, column: Column, seed: int, precision: str = "float64") -> Training:
    """Return the training of a cell by the trainer of ``mtlbench run``; as for :func:`ordinary_weights`."""
    if setting.optimizer != "adam" or column.step_rule != "plain":
        raise UsageError("map: the ordinary trainer has Adam and no step rules, so there is nothing to compare with")
    registry = load_registry()
    recipe = Recipe(
        problem=setting.problem(seed, precision).spec,
        steps=setting.steps,
        batch_size=setting.batch,
        lr=column.lr,
        lr_schedule="linear",
        weight_decay=0.0,
        measure_every=setting.steps + 1,
    )
    spec = column.method if column.single is None else "stl"
    if column.weights is not None:
        spec = f"fixed[w={':'.join(map(repr, column.weights))}]"
    return Training(Workload.load("map", recipe, registry), registry.method(spec), seed)


def flat(state: Mapping[str, torch.Tensor], tasks: int) -> Vector:
    """Return the weights of a model of the problem ``regimes`` in the order of the batched trainer.

    :param state: the model's tensors by name.
    :param tasks: K.
    """
    parts = [state["trunk.0.weight"].T, state["trunk.0.bias"], *(state[f"heads.task{k}.weight"] for k in range(tasks))]
    numbers: Vector = torch.cat([part.detach().double().flatten() for part in parts]).numpy()
    return numbers
