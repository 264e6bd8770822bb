"""Maps whose true effects are known: scores from a formula instead of training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mtlbench.map.cells import Array, Column, Features, Setting, Trained
from mtlbench.map.design import weightings
from mtlbench.map.result import Study
from mtlbench.map.scores import Scores
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
    elif column.method in ("unit-gradients", "nash-mtl"):
        loss = 0.0
    return loss + no_effect(setting, column)


def half_of_them(setting: Setting, column: Column) -> float:
    """Return the true ln NMSE of a column where half of the methods are better, by about a standard deviation."""
    better = column.method in ("unit-gradients", "nash-mtl")
    return no_effect(setting, column) - (NOISE if better else 0.0)


@dataclass(frozen=True)
class MadeTrainer:
    """Like :func:`mtlbench.map.trainer.train`, with scores from a formula. Processes of their own can have it, too.

    :param effect: (setting, column) → true ln NMSE of every task.
    :param noise: standard deviation of a column's own noise, on ln NMSE.
    :param number: of the map: another one has other noise.
    """

    effect: Effect = known_effect
    noise: float = NOISE
    number: int = 0

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
            failures={},
            seconds={"step": 0.5, "weights": 0.25},
            features=_features(settings, seeds, columns),
        )


def _scores(setting: Setting, seed: int, columns: Sequence[Column], made: MadeTrainer) -> tuple[Array, Array]:
    """Return development and test scores (Q, K) of one instance; its columns share its difficulty: they are paired."""
    random = generator(made.number, seed, repr(setting))
    shared = random.normal(-2.0, 0.5, size=setting.tasks)
    own, dev, test = random.normal(size=(3, len(columns), setting.tasks)) * made.noise
    effects = np.array([made.effect(setting, column) for column in columns])
    base = shared + effects[:, None] + own
    for number, column in enumerate(columns):
        if column.single is not None:
            base[number, np.arange(setting.tasks) != column.single] = np.nan
    return np.exp(base + 0.2 * dev), np.exp(base + 0.2 * test)


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


RATES = (0.01, 0.03, 0.1)
METHODS = ("sum", "unit-gradients", "pcgrad", "nash-mtl")


def made_columns(pool: bool = True) -> list[Column]:
    """Return methods, step rules, a pool of fixed weights and single tasks, for two tasks."""
    columns = [Column(method, rate) for method in METHODS for rate in RATES]
    columns += [Column("sum", rate, step_rule=rule) for rule in ("unit", "log") for rate in RATES]
    if pool:
        columns += [Column("sum", rate, weights=weights) for weights in weightings(2, 6) for rate in RATES]
    return columns + [Column("sum", rate, single=task) for task in (0, 1) for rate in RATES]


def made_study(settings: Sequence[Setting], seeds: int, made: MadeTrainer, columns: Sequence[Column]) -> Study:
    """Return a study with scores from a formula."""
    trained = made(settings, range(seeds), columns)
    cells = [
        Scores(setting, columns, range(seeds), trained.dev[number], trained.test[number])
        for number, setting in enumerate(settings)
    ]
    return Study("made", "Made", ("loss_ratio", "noise_ratio"), cells)
