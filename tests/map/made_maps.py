"""Maps whose true effects are known: scores from a formula instead of training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mtlbench.map.cells import Array, Column, Features, Setting, Trained
from mtlbench.seeds import generator

NOISE = 0.1
"""Standard deviation of ln NMSE that a column has of its own in every instance."""
BEST_RATE = 0.03
"""The learning rate that is best for every column, by e^0.2 for a factor of three."""

Effect = Callable[[Setting, Column], float]


def no_effect(setting: Setting, column: Column) -> float:
    """Return the true ln NMSE of a column where the learning rate alone makes a difference."""
    return 0.2 * abs(np.log(column.lr / BEST_RATE)) / np.log(3.0)


def known_effect(setting: Setting, column: Column) -> float:
    """Return the true ln NMSE where normalisation removes what unequal losses cost, and fixed weights can as well.

    The equal sum loses ln(ratio) / 4; weights w lose by how far they are from the inverse scales.
    """
    loss = abs(np.log(setting.loss_ratio)) / 4.0
    if column.weights is not None:
        weights = np.log(np.array(column.weights))
        wanted = -np.log(setting.loss_ratio) * np.linspace(-0.5, 0.5, setting.tasks)
        loss = float(np.abs((weights - weights.mean()) - wanted).max()) / 2.0
    elif column.single is not None:
        loss = 0.4
    elif column.method in ("normalized-sum", "nash-mtl"):
        loss = 0.0
    return loss + no_effect(setting, column)


@dataclass(frozen=True)
class MadeTrainer:
    """Like :func:`mtlbench.map.trainer.train`, with scores from a formula. Processes of their own can have it, too.

    :param effect: (setting, column) → true ln NMSE of every task.
    :param noise: standard deviation of a column's own noise, on ln NMSE.
    """

    effect: Effect = known_effect
    noise: float = NOISE

    def __call__(self, settings: Sequence[Setting], seeds: Sequence[int], columns: Sequence[Column]) -> Trained:
        cells = [[_scores(setting, seed, columns, self) for seed in seeds] for setting in settings]
        dev, test = (np.array([[pair[part] for pair in row] for row in cells]) for part in (0, 1))
        return Trained(
            settings=settings,
            seeds=seeds,
            columns=columns,
            dev=dev,
            test=test,
            diverged=np.zeros(dev.shape[:3], dtype=np.bool_),
            seconds={"step": 0.5, "weights": 0.25},
            features=_features(settings, seeds, columns),
        )


def _scores(setting: Setting, seed: int, columns: Sequence[Column], made: MadeTrainer) -> tuple[Array, Array]:
    """Return development and test scores (Q, K) of one instance; its columns share its difficulty: they are paired."""
    shared = generator(seed, "instance", repr(setting)).normal(-2.0, 0.5, size=setting.tasks)
    dev, test = [], []
    for column in columns:
        random = generator(seed, repr(setting), repr(column))
        base = shared + made.effect(setting, column) + made.noise * random.normal(size=setting.tasks)
        if column.single is not None:
            base[np.arange(setting.tasks) != column.single] = np.nan
        dev.append(base + 0.2 * made.noise * random.normal(size=setting.tasks))
        test.append(base + 0.2 * made.noise * random.normal(size=setting.tasks))
    return np.exp(np.array(dev)), np.exp(np.array(test))


def _features(settings: Sequence[Setting], seeds: Sequence[int], columns: Sequence[Column]) -> Features | None:
    sums = np.array([number for number, column in enumerate(columns) if column.is_plain_sum])
    if not len(sums):
        return None
    tasks = settings[0].tasks
    shape = (len(settings), len(seeds), len(sums), tasks)
    scales = np.array([setting.loss_ratio ** np.linspace(0.0, 1.0, tasks) for setting in settings])
    losses = np.broadcast_to(scales[:, None, None], shape).copy()
    gram = losses[..., :, None] * losses[..., None, :] * (0.5 + 0.5 * np.eye(tasks))
    return Features(sums, 40, 2.0 * losses, losses, gram, gram + 1.0, gram / 2.0, gram * 0.75)
