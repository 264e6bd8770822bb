"""Adam on K numbers: the optimizer of methods that learn one number a task."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtlbench.contract.observation import Vector

BETA_1, BETA_2 = 0.9, 0.999
EPSILON = 1e-8


@dataclass
class Adam:
    """Kingma and Ba, Adam: A Method for Stochastic Optimization, ICLR 2015, algorithm 1, in float64.

    ``epsilon`` may be set to less than the usual 10⁻⁸ where tiny gradients must count.
    """

    steps: int = 0
    mean: Vector | None = None
    square: Vector | None = None

    def step(
        self, values: Vector, gradient: Vector, lr: float, *, weight_decay: float = 0.0, epsilon: float = EPSILON
    ) -> Vector:
        """Return the values after one step; ``weight_decay`` adds its multiple of the values to the gradient."""
        gradient = gradient + weight_decay * values
        before = np.zeros_like(gradient)
        self.steps += 1
        self.mean = BETA_1 * (before if self.mean is None else self.mean) + (1.0 - BETA_1) * gradient
        self.square = BETA_2 * (before if self.square is None else self.square) + (1.0 - BETA_2) * gradient**2
        mean = self.mean / (1.0 - BETA_1**self.steps)
        spread = np.sqrt(self.square / (1.0 - BETA_2**self.steps))
        return values - lr * mean / (spread + epsilon)
