"""Problems of a few numbers, which the tests of problems train in milliseconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mtlbench.contract.examples import Data, Examples
from mtlbench.contract.problem import Problem, Target
from mtlbench.problem.loaded import LoadedProblem
from mtlbench.recipe.suite import Recipe

ROWS = 96


class Net(nn.Module):
    """A trunk of two layers and four heads."""

    def __init__(self, width: int, dropout: float, norm: bool) -> None:
        super().__init__()
        self.first = nn.Linear(4, width)
        self.norm = nn.BatchNorm1d(width) if norm else nn.Identity()
        self.drop = nn.Dropout(dropout)
        self.last = nn.Linear(width, width)
        self.act = nn.Tanh()
        sizes = {"side": 3, "sum": 1, "signs": 2, "place": 2}
        self.heads = nn.ModuleDict({name: nn.Linear(width, size) for name, size in sizes.items()})

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        features = self.act(self.last(self.drop(self.norm(self.first(x).tanh()))))
        return {name: head(features) for name, head in self.heads.items()}


@dataclass
class Points(Problem):
    """Points of a space: a class, a real number, two labels and two real numbers of each."""

    name = "points"
    width: int = 6
    dropout: float = 0.0
    norm: bool = False
    double: bool = False
    unlabelled: float = 0.0
    """Share of rows without a label of each task but the first."""

    def targets(self) -> Sequence[Target]:
        return [
            Target("side", "classification", outputs=3),
            Target("sum", "regression"),
            Target("signs", "multilabel", outputs=2),
            Target("place", "regression", outputs=2, metrics=("r2", "pearson")),
        ]

    def load(self, data_dir: Path | None) -> Data:
        return Data(train=self.rows(0, ROWS), dev=self.rows(1, 40), test=self.rows(2, 30), source="drawn")

    def rows(self, seed: int, count: int) -> Examples:
        random = np.random.default_rng(seed)
        x = random.normal(size=(count, 4))
        labels: dict[str, Any] = {
            "side": np.digitize(x[:, 0], [-0.4, 0.4]),
            "sum": 5.0 + 3.0 * x.sum(axis=1),
            "signs": (x[:, :2] > 0).astype(float),
            "place": x[:, 2:] * [1.0, 100.0] + [0.0, 7.0],
        }
        missing = random.random((3, count)) < self.unlabelled
        labels["sum"][missing[0]] = np.nan
        labels["signs"][missing[1]] = np.nan
        labels["place"][missing[2]] = np.nan
        return Examples(x.astype(np.float64 if self.double else np.float32), labels)

    def model(self, targets: Sequence[Target]) -> nn.Module:
        net = Net(self.width, self.dropout, self.norm)
        return net.double() if self.double else net

    def last_shared_layer(self, model: Any) -> nn.Module:
        return model.last

    def representation(self, model: Any) -> nn.Module:
        return model.act


@dataclass
class ApartPoints(Points):
    """The same, with a batch for every task."""

    name = "apart-points"
    separate = True


def recipe_of(**changes: Any) -> Recipe:
    """A recipe of a few steps."""
    return Recipe(**{"problem": "points", "steps": 4, "batch_size": 8, "lr": 0.01, **changes})


def load(problem: Problem, **changes: Any) -> tuple[LoadedProblem, Recipe]:
    """Load a problem with a recipe of a few steps."""
    recipe = recipe_of(**changes)
    loaded = LoadedProblem(problem, recipe)
    return loaded, loaded.recipe(recipe)


def gradients_of(parameters: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Copies of gradients, zeros where there is none."""
    return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in parameters]


def train(session: Any, method: Any, steps: int, lr: float = 0.01) -> list[Mapping[str, Any]]:
    """Take steps as the training loop does, and return what each measured."""
    from mtlbench.contract.method_output import tell_after

    optimizer = torch.optim.AdamW([*session.shared, *session.heads], lr=lr)
    results = []
    for step in range(steps):
        result = session.step(method, step, measure=step % 2 == 1)
        optimizer.step()
        if method.reads_after:
            tell_after(method, session.losses_after(step))
        if step + 1 < steps:
            session.ahead(step + 1)
        results.append(result)
    return results
