"""A family of small problems with knobs: how related the tasks are, how loud, how noisy, and how hard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from mtlbench import Data, Examples, Problem, Target, seeds

if TYPE_CHECKING:
    import torch

INPUTS, UNITS, MOST_TASKS = 16, 4, 8
"""Numbers of a row, units of a teacher, and tasks that are always drawn: those of two tasks are the first of eight."""
POOL, HELD_OUT = 4096, 1024
"""Rows to train on, from which the first are taken; and rows of each of the two other splits."""
GAIN, NOISE = 1.5, 0.2
"""Mean gain of a teacher's units, and mean standard deviation of the label noise."""


@dataclass
class Regimes(Problem):
    """Regression on teacher networks that are related, loud, noisy and hard as its parameters say.

    An input z has 16 independent normal numbers. The teacher of task k is f_k(z) = a_k · tanh(γ_k U_k z), with 4 units,
    normal a_k, and U_k = ρ U_0 + √(1 − ρ²) U'_k with rows scaled to length 1: ρ, ``relatedness``, says how much the
    teachers' units have in common. A teacher's values are standardised. The network has one layer of ``width`` tanh
    units, which all tasks share, and a linear output for each task: K tasks need 4 K units.

    Three ratios make the tasks unlike, from the first to the last, evenly on a logarithmic scale around a mean:

    - ``loss_ratio``: factors s_k of the losses s_k · ½ · mean (ŷ − y)²;
    - ``noise_ratio``: standard deviations of the normal noise on training labels, 0.2 on average;
    - ``speed_ratio``: gains γ_k, 1.5 on average; a teacher with a larger gain is more curved and learned more slowly.

    The network sees z times the diagonal κ^(−i/30), i = 0 … 15, rescaled to keep the inputs' total variance: κ,
    ``conditioning``, is the condition number of their covariance.

    Development and test labels have no noise and variance 1, so that 1 − r² is the normalised squared error.
    ``instance`` draws other teachers and rows. Of two values of another parameter, both have the same draws.
    """

    name = "regimes"
    source = (
        "teacher and student networks: Saad and Solla, Exact Solution for On-Line Learning in Multilayer Neural "
        "Networks, Physical Review Letters 74, 1995; two related teachers: Lee et al., Continual Learning in the "
        "Teacher-Student Setup: Impact of Task Similarity, ICML 2021"
    )
    standardise = False
    recipe = {"steps": 1200, "batch_size": 32, "lr": 0.01, "lr_schedule": "linear", "weight_decay": 0.0}

    tasks: Annotated[int, Field(ge=2, le=MOST_TASKS, description="K, the number of tasks")] = 2
    relatedness: Annotated[float, Field(ge=0, le=1, description="ρ: what the teachers have in common")] = 0.5
    width: Annotated[int, Field(ge=1, le=4096, description="shared units; 4 K are needed")] = 8
    loss_ratio: Annotated[float, Field(gt=0, description="the last task's loss scale over the first one's")] = 1.0
    noise_ratio: Annotated[float, Field(gt=0, description="the last task's label noise over the first one's")] = 1.0
    speed_ratio: Annotated[float, Field(gt=0, description="the last teacher's gain over the first one's")] = 1.0
    rows: Annotated[int, Field(ge=2, le=POOL, description="training rows")] = 1024
    conditioning: Annotated[float, Field(ge=1, description="κ: condition number of the inputs' covariance")] = 1.0
    instance: Annotated[int, Field(ge=0, description="number of the draw of teachers and rows")] = 0
    precision: Annotated[Literal["float32", "float64"], Field(description="of inputs and network")] = "float32"

    def targets(self) -> Sequence[Target]:
        return [Target(f"task{number}", "regression") for number in range(self.tasks)]

    def load(self, data_dir: Path | None) -> Data:
        inputs, values = self._teachers()
        noise = seeds.generator("regimes", self.instance, "noise").normal(size=(POOL, MOST_TASKS))
        values[:POOL] += noise[:, : self.tasks] * (NOISE * spread(self.noise_ratio, self.tasks))
        seen = (inputs * diagonal(self.conditioning)).astype(self.precision)
        starts = {"train": 0, "dev": POOL, "test": POOL + HELD_OUT}
        counts = {"train": self.rows, "dev": HELD_OUT, "test": HELD_OUT}
        splits = {}
        for split, start in starts.items():
            rows = slice(start, start + counts[split])
            labels = {target.name: values[rows, number] for number, target in enumerate(self.targets())}
            splits[split] = Examples(seen[rows], labels)
        return Data(**splits, source="random numbers")

    def _teachers(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the inputs of all splits, (N, 16), and the teachers' standardised values of them, (N, K)."""
        draw = seeds.generator("regimes", self.instance, "teachers")
        inputs = draw.normal(size=(POOL + 2 * HELD_OUT, INPUTS))
        common = of_length_one(draw.normal(size=(UNITS, INPUTS)))
        own = of_length_one(draw.normal(size=(MOST_TASKS, UNITS, INPUTS)))
        outer = draw.normal(size=(MOST_TASKS, UNITS))[: self.tasks]
        rho = self.relatedness
        inner = of_length_one(rho * common + np.sqrt(1.0 - rho**2) * own[: self.tasks])
        gains = GAIN * spread(self.speed_ratio, self.tasks)
        units = np.tanh(inputs @ (gains[:, None, None] * inner).reshape(-1, INPUTS).T)
        values = np.einsum("nku,ku->nk", units.reshape(len(inputs), self.tasks, UNITS), outer)
        return inputs, (values - values.mean(axis=0)) / values.std(axis=0)

    def model(self, targets: Sequence[Target]) -> torch.nn.Module:
        import torch
        from torch import nn

        # drawn before the layers, which draw weights of their own, and for all tasks whatever their number
        inner = torch.randn(self.width, INPUTS, dtype=torch.float64) / INPUTS**0.5
        outer = torch.randn(MOST_TASKS, self.width, dtype=torch.float64) / self.width**0.5
        layer = nn.Linear(INPUTS, self.width)
        heads = nn.ModuleDict({target.name: nn.Linear(self.width, 1, bias=False) for target in targets})
        model = nn.ModuleDict({"trunk": nn.Sequential(layer, nn.Tanh()), "heads": heads})
        model.to(getattr(torch, self.precision))
        numbers = {target.name: number for number, target in enumerate(self.targets())}
        with torch.no_grad():
            layer.weight.copy_(inner)
            layer.bias.zero_()
            for target in targets:
                heads[target.name].get_parameter("weight").copy_(outer[numbers[target.name]][None])
        return model

    def shared(self, model: Any) -> torch.nn.Module:
        return model["trunk"]

    def last_shared_layer(self, model: Any) -> torch.nn.Module:
        return model["trunk"][0]

    def representation(self, model: Any) -> torch.nn.Module:
        return model["trunk"]

    def outputs(self, model: Any, inputs: Any, tasks: Sequence[str]) -> Mapping[str, torch.Tensor]:
        features = model["trunk"](inputs)
        return {task: model["heads"][task](features) for task in tasks}

    def loss(self, target: Target, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return half the mean squared error of a batch, times the task's factor."""
        number = next(number for number, other in enumerate(self.targets()) if other.name == target.name)
        return super().loss(target, outputs, labels) * (0.5 * spread(self.loss_ratio, self.tasks)[number])


def spread(ratio: float, count: int) -> NDArray[np.float64]:
    """Return numbers from 1/√ratio to √ratio, evenly spaced on a logarithmic scale.

    :param ratio: the last number over the first.
    :param count: how many numbers, at least 2.
    """
    return ratio ** (np.arange(count) / (count - 1) - 0.5)


def diagonal(condition: float) -> NDArray[np.float64]:
    """Return the factors of the inputs.

    :param condition: the square of the first factor over the last.
    :returns: (16,) falling factors, whose squares add up to 16.
    """
    factors = condition ** (-np.arange(INPUTS) / (2 * (INPUTS - 1)))
    return factors * np.sqrt(INPUTS / (factors**2).sum())


def of_length_one(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return rows scaled to length 1.

    :param rows: (…, D) rows.
    """
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)
