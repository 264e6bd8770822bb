"""Adam on K numbers: the optimizer of methods that learn one number per task."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtlbench.contract.observation import Vector

BETA_1, BETA_2 = 0.9, 0.999
EPSILON = 1e-8


@dataclass
class Adam:
    """Kingma and Ba, Adam: A Method for Stochastic Optimization, ICLR 2015, algorithm 1, in float64.

    :param steps: the number of steps taken.
    :param mean: (K,) running mean of the gradients, ``None`` before the first step.
    :param square: (K,) running mean of their squares, ``None`` before the first step.
    """

    steps: int = 0
    mean: Vector | None = None
    square: Vector | None = None

    def step(
        self, values: Vector, gradient: Vector, lr: float, *, weight_decay: float = 0.0, epsilon: float = EPSILON
    ) -> Vector:
        """Return the values after one step.

        :param values: (K,) values to optimize.
        :param gradient: (K,) gradient at the values.
        :param lr: the learning rate.
        :param weight_decay: the multiple of the values that is added to the gradient.
        :param epsilon: added to the denominator; use less than the usual 10⁻⁸ where tiny gradients must count.
        """
        gradient = gradient + weight_decay * values
        zeros = np.zeros_like(gradient)
        self.steps += 1
        self.mean = BETA_1 * (zeros if self.mean is None else self.mean) + (1.0 - BETA_1) * gradient
        self.square = BETA_2 * (zeros if self.square is None else self.square) + (1.0 - BETA_2) * gradient**2
        mean = self.mean / (1.0 - BETA_1**self.steps)
        spread = np.sqrt(self.square / (1.0 - BETA_2**self.steps))
        return values - lr * mean / (spread + epsilon)
