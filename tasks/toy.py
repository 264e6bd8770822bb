"""The two-dimensional toy problem for demonstrations of gradient surgery: two losses of one point."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mtlbench.contract.task import Splits, Task
from mtlbench.errors import UsageError

Array = NDArray[np.float64]

FLOOR = 5e-6
"""Lower bound of the logarithm's argument in the upper half."""
SIDE = np.array([1.0, -1.0])
"""s = 1 and s = −1: the two losses are mirror images of each other."""


@dataclass(frozen=True)
class Setting:
    """A paper's version of the problem.

    :param scale: factor of the first loss.
    :param starts: initial points (x₁, x₂).
    :param lr: learning rate of Adam, whose other constants have their default values.
    :param steps: optimizer steps.
    """

    scale: float
    starts: tuple[tuple[float, float], ...]
    lr: float
    steps: int


SETTINGS = {
    "cagrad": Setting(1.0, ((-8.5, 7.5), (-8.5, -5.0), (9.0, 9.0)), lr=1e-3, steps=100_000),
    "nash": Setting(0.1, ((-8.5, 7.5), (0.0, 0.0), (9.0, 9.0), (-7.5, -0.5), (9.0, -1.0)), lr=1e-3, steps=35_000),
}


@dataclass
class Toy(Task):
    """Two losses of a point (x₁, x₂): conflicting, curved valleys above, two bowls below. Run it with mtlbench toy.

    With s = 1 for the first loss and s = −1 for the second::

        u = s (tanh x₂ − 7/2) − x₁/2              f = log max(|u|, 5·10⁻⁶) + 6
        q = ((x₁ − 7s)² + (x₂ + 8)²/10)/10 − 20    L = f max(tanh(x₂/2), 0) + q max(−tanh(x₂/2), 0)

    These are the papers' formulas, rewritten. In the upper half the valleys u = 0 of the two logarithms run side by
    side, with large, conflicting gradients; plain averaging gets stuck there. The Pareto set lies in the lower half
    (:meth:`pareto_set`). The setting ``cagrad`` is from the CAGrad paper. In ``nash``, from Nash-MTL, the first loss is
    divided by ten, to show whether a method depends on the scale of the losses.

    Where max has a kink, at x₂ = 0, the gradient is one-sided, as in automatic differentiation: both factors change.
    """

    name = "toy"
    source = (
        "Liu et al., Conflict-Averse Gradient Descent for Multi-task Learning, NeurIPS 2021; with other starts and "
        "scales, Navon et al., Multi-Task Learning as a Bargaining Game, ICML 2022"
    )

    setting: Literal["cagrad", "nash"] = "cagrad"

    def load(self, data_dir: Path | None) -> Splits:
        raise UsageError("task toy has no rows: run it with mtlbench toy")

    @property
    def constants(self) -> Setting:
        """Scale, starts, learning rate and steps of the setting."""
        return SETTINGS[self.setting]

    @property
    def bounds(self) -> Array:
        """(2,) lower bounds of the losses, as chosen by FAMO's authors: a loss minus its bound is positive."""
        return -21.0 * self._factors

    @property
    def _factors(self) -> Array:
        return np.array([self.constants.scale, 1.0])

    def evaluate(self, points: Array) -> tuple[Array, Array]:
        """Return the losses and their gradients at several points.

        :param points: (B, 2) points (x₁, x₂).
        :returns: (B, 2) losses, and (B, 2 losses, 2 coordinates) gradients.
        """
        x1, x2 = points[:, :1], points[:, 1:]
        tanh, half = np.tanh(x2), np.tanh(x2 / 2.0)
        upper, lower = np.maximum(half, 0.0), np.maximum(-half, 0.0)
        slope = (1.0 - half**2) / 2.0  # of tanh(x₂/2)
        upper_slope, lower_slope = np.where(half >= 0.0, slope, 0.0), np.where(half <= 0.0, -slope, 0.0)

        u = SIDE * (tanh - 3.5) - x1 / 2.0
        size = np.abs(u)
        f = np.log(np.maximum(size, FLOOR)) + 6.0
        f_of_u = np.divide(1.0, u, out=np.zeros_like(u), where=size >= FLOOR)
        aside, below = x1 - 7.0 * SIDE, x2 + 8.0
        q = (aside**2 + below**2 / 10.0) / 10.0 - 20.0

        losses = f * upper + q * lower
        gradients = np.empty((len(points), 2, 2))
        gradients[:, :, 0] = -0.5 * f_of_u * upper + aside / 5.0 * lower
        gradients[:, :, 1] = (
            f_of_u * SIDE * (1.0 - tanh**2) * upper + below / 50.0 * lower + f * upper_slope + q * lower_slope
        )
        return losses * self._factors, gradients * self._factors[:, None]

    def pareto_set(self, x1: Array) -> Array:
        """Return the Pareto-optimal points with the given x₁.

        Along x₁ the two bowls pull apart with 7 + x₁ and 7 − x₁. These two, divided by 14 and exchanged, are the
        weights of the combination that is stationary there. Its derivative along x₂ increases with x₂ between −20 and
        −1; the root is found by bisection. It is near −8.355 in the middle and −8.434 at the ends, for any scale of
        the losses.

        :param x1: (N,) values within ±7.
        :returns: (N, 2) points.
        """
        low, high = np.full_like(x1, -20.0), np.full_like(x1, -1.0)
        for _ in range(60):
            x2 = (low + high) / 2.0
            half = np.tanh(x2 / 2.0)
            combined = (49.0 - x1**2) / 10.0 + (x2 + 8.0) ** 2 / 100.0 - 20.0
            rising = -half * (x2 + 8.0) / 50.0 - combined * (1.0 - half**2) / 2.0 > 0.0
            low, high = np.where(rising, low, x2), np.where(rising, x2, high)
        return np.stack([x1, (low + high) / 2.0], axis=1)
