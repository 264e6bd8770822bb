"""The cells of a map: a setting of the family's knobs × a seed × a column, which is a method or its control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mtlbench.errors import UsageError, shown
from mtlbench.problems.regimes import Regimes

Optimizer = Literal["adam", "sgd", "momentum"]
StepRule = Literal["plain", "unit", "log"]
Array = NDArray[np.float64]

DIVERGED = 1e3
"""The score of a cell whose losses or gradients stopped being finite, and the worst score of any other."""
BEST = 1e-6
"""The best score that counts: below it, a network has learned its teacher by heart."""
KNOBS = ("tasks", "relatedness", "width", "loss_ratio", "noise_ratio", "speed_ratio", "rows", "conditioning")
"""The fields of a setting that are parameters of the problem; the others say how it is trained."""
SHAPE = ("tasks", "width", "rows", "batch", "optimizer", "steps")
"""The fields that settings must have in common to be trained together."""


@dataclass(frozen=True)
class Setting:
    """One point of the map: the knobs of the family ``regimes``, the optimizer and the length of training.

    >>> from mtlbench.map.cells import Setting
    >>> Setting(loss_ratio=10.0, steps=400).problem(instance=3).spec
    'regimes[loss_ratio=10.0,instance=3]'

    :param tasks: K, from 2 to 8.
    :param relatedness: ρ from 0 to 1: how much the teachers' first layers have in common.
    :param width: shared units of the network.
    :param loss_ratio: the last task's loss scale over the first one's.
    :param noise_ratio: the last task's label noise over the first one's, as standard deviations.
    :param speed_ratio: the last teacher's gain over the first one's: a higher gain is learned more slowly.
    :param rows: training rows, at most 4096.
    :param batch: rows of a step.
    :param conditioning: κ ≥ 1: condition number of the inputs' covariance.
    :param optimizer: Adam, plain SGD, or SGD with momentum 0.9.
    :param steps: optimizer steps.
    :raises UsageError: for a value out of its range.
    """

    tasks: int = 2
    relatedness: float = 0.5
    width: int = 8
    loss_ratio: float = 1.0
    noise_ratio: float = 1.0
    speed_ratio: float = 1.0
    rows: int = 1024
    batch: int = 32
    conditioning: float = 1.0
    optimizer: Optimizer = "adam"
    steps: int = 1200

    def __post_init__(self) -> None:
        for name in ("batch", "steps"):
            if getattr(self, name) < 1:
                raise UsageError(f"setting: {name}={shown(getattr(self, name))} should be at least 1")
        if self.optimizer not in get_args(Optimizer):
            choices = ", ".join(get_args(Optimizer))
            raise UsageError(f"setting: optimizer={shown(self.optimizer)} should be one of {choices}")
        self.problem()  # which checks the rest

    @property
    def shape(self) -> tuple[Any, ...]:
        """What settings must have in common to be trained together."""
        return tuple(getattr(self, name) for name in SHAPE)

    def problem(self, instance: int = 0, precision: str = "float32") -> Regimes:
        """Return the problem that ``mtlbench run`` trains on this point of the map.

        :param instance: number of the draw of teachers and rows: the seed of the map's cell.
        :param precision: "float32" or "float64".
        :raises UsageError: for a knob out of its range.
        """
        knobs = {name: getattr(self, name) for name in KNOBS}
        return Regimes.make({**knobs, "instance": instance, "precision": precision})


@dataclass(frozen=True)
class Column:
    """What is trained on every setting and seed: a method, or a control, at one learning rate.

    :param method: the method's spec; controls are variants of ``sum``.
    :param lr: the highest learning rate.
    :param weights: (K,) fixed weights of the losses, heads included; ``None`` for those that the method gives.
    :param step_rule: "unit" scales the shared update to length 1; "log" descends the logarithm of the weighted sum of
        the losses, heads included.
    :param single: train on this task alone.
    :raises UsageError: when the parts do not go together.
    """

    method: str
    lr: float
    weights: tuple[float, ...] | None = None
    step_rule: StepRule = "plain"
    single: int | None = None

    def __post_init__(self) -> None:
        if not (np.isfinite(self.lr) and self.lr > 0.0):
            raise UsageError(f"column {self.method}: lr={shown(self.lr)} should be a positive number")
        if self.step_rule not in get_args(StepRule):
            raise UsageError(
                f"column {self.method}: step_rule={shown(self.step_rule)} should be one of "
                f"{', '.join(get_args(StepRule))}"
            )
        is_control = self.weights is not None or self.step_rule != "plain" or self.single is not None
        if is_control and self.method != "sum":
            raise UsageError(f"column {self.method}: weights, step rules and single tasks are controls of method sum")
        if self.single is not None and (self.weights is not None or self.step_rule != "plain"):
            raise UsageError("column sum: a single task has neither weights nor a step rule")
        if self.weights is not None and not all(np.isfinite(w) and w > 0.0 for w in self.weights):
            raise UsageError(f"column sum: weights={shown(self.weights)} should be positive numbers")

    @property
    def is_plain_sum(self) -> bool:
        """Whether it is the plain sum of the losses."""
        return self.method == "sum" and self.weights is None and self.step_rule == "plain" and self.single is None


@dataclass(frozen=True)
class Features:
    """Measurements of the plain sum early in training, on which the doctor's advice is based.

    The axes S × N × Q are settings, seeds, and the columns of the plain sum: one for each learning rate. Losses and
    gradients are those of the scaled losses, as a user's run has them. All but ``start`` are measured at the
    parameters after :attr:`step` steps.

    :param columns: (Q,) positions of these columns among all.
    :param step: optimizer steps done.
    :param start: (S, N, Q, K) mean of the batch losses of the first ten steps.
    :param losses: (S, N, Q, K) mean of the batch losses of the ten steps up to :attr:`step`.
    :param gram: (S, N, Q, K, K) inner products of the task gradients of a batch.
    :param second_gram: (S, N, Q, K, K) those of a second, independent batch.
    :param cross_gram: (S, N, Q, K, K) inner products of the first batch's task gradients with the second batch's.
    :param full_gram: (S, N, Q, K, K) inner products of the task gradients of all training rows.
    """

    columns: NDArray[np.int64]
    step: int
    start: Array
    losses: Array
    gram: Array
    second_gram: Array
    cross_gram: Array
    full_gram: Array

    @property
    def loss_ratio(self) -> Array:
        """(S, N, Q) the largest loss over the smallest."""
        return self.losses.max(axis=-1) / self.losses.min(axis=-1)

    @property
    def norms(self) -> Array:
        """(S, N, Q, K) lengths of the batch's task gradients."""
        return np.sqrt(np.diagonal(self.gram, axis1=-2, axis2=-1))

    @property
    def norm_ratio(self) -> Array:
        """(S, N, Q) the longest task gradient over the shortest."""
        return self.norms.max(axis=-1) / self.norms.min(axis=-1)

    @property
    def progress(self) -> Array:
        """(S, N, Q, K) logarithm of the present loss over that at the start: 0 is none, −1 a fall to a 1/e."""
        return np.log(self.losses / self.start)

    @property
    def noise(self) -> Array:
        """(S, N, Q, K) noise over signal of each task's batch gradient: E‖g − ḡ‖² / ‖ḡ‖², from two batches.

        With two independent batches, ⟨g, g′⟩ estimates ‖ḡ‖², and ‖g‖² exceeds it by the noise. Where the estimate is
        not positive, noise hides the signal: infinity.
        """
        signal = np.diagonal(self.cross_gram, axis1=-2, axis2=-1)
        both = self.gram + self.second_gram
        total = np.diagonal(both, axis1=-2, axis2=-1) / 2.0
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(signal > 0.0, np.maximum(total - signal, 0.0) / signal, np.inf)

    @property
    def batch_cosine(self) -> Array:
        """(S, N, Q) the smallest cosine of two tasks' batch gradients; NaN for one task."""
        return smallest_cosine(self.gram)

    @property
    def full_cosine(self) -> Array:
        """(S, N, Q) the smallest cosine of two tasks' gradients on all training rows; NaN for one task."""
        return smallest_cosine(self.full_gram)


@dataclass(frozen=True)
class Trained:
    """Scores of a shard of the map.

    :param settings: S settings.
    :param seeds: N seeds.
    :param columns: Q columns.
    :param dev: (S, N, Q, K) mean squared errors on 1024 rows with clean labels of variance 1, clipped to
        [:data:`BEST`, :data:`DIVERGED`]. A column of a single task has NaN at the other tasks.
    :param test: (S, N, Q, K) the same on 1024 other rows.
    :param diverged: (S, N, Q) whether losses or weights stopped being finite; scores are :data:`DIVERGED` then.
    :param failures: (setting, seed, column) → why its method failed, such as a solver that found no solution or
        gradients that were not finite. These cells count as diverged.
    :param seconds: where the time went: part of the work → seconds.
    :param features: what the plain sum shows early; ``None`` when no column is a plain sum.
    """

    settings: Sequence[Setting]
    seeds: Sequence[int]
    columns: Sequence[Column]
    dev: Array
    test: Array
    diverged: NDArray[np.bool_]
    failures: Mapping[tuple[int, int, int], str]
    seconds: Mapping[str, float]
    features: Features | None = None


def smallest_cosine(gram: Array) -> Array:
    """Return the smallest cosine of two different gradients.

    :param gram: (…, K, K) inner products.
    :returns: (…) cosines; NaN for one gradient, or where one has length 0.
    """
    lengths = np.sqrt(np.diagonal(gram, axis1=-2, axis2=-1))
    with np.errstate(divide="ignore", invalid="ignore"):
        cosines = gram / (lengths[..., :, None] * lengths[..., None, :])
    pairs = cosines[..., *np.triu_indices(gram.shape[-1], 1)]
    return pairs.min(axis=-1) if pairs.shape[-1] else np.full(gram.shape[:-2], np.nan)
