"""The optimizer of a model, and the schedule of its learning rate."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from mtlbench.recipe.suite import Recipe

WARM_UP = 0.1
"""Share of the steps over which a linear schedule rises."""


def make_optimizer(
    shared: Sequence[torch.Tensor], heads: Sequence[torch.Tensor], recipe: Recipe, steps: int, lr: float
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
    """Return AdamW over the trained parameters, and the recipe's schedule.

    :param shared: the shared parameters.
    :param heads: all others.
    :param recipe: weight decay and schedule.
    :param steps: optimizer steps.
    :param lr: the highest learning rate.
    """
    trained = [*shared, *heads]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": recipe.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=lr, fused=True)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, schedule(recipe.lr_schedule, steps))


def schedule(name: str, steps: int) -> Callable[[int], float]:
    """Return the factor of the learning rate by step, from 0.

    :param name: "constant" or "linear"; see :attr:`mtlbench.recipe.suite.Recipe.lr_schedule`.
    :param steps: optimizer steps.
    """
    rise = max(1.0, WARM_UP * steps)

    def factor(step: int) -> float:
        if name == "constant":
            return 1.0
        return min((step + 1) / rise, (steps - step) / max(1.0, steps - rise))

    return factor
