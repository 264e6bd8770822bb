"""SDMGrad: the shortest combination near the mean gradient, using products between two independent batches."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
from pydantic import Field

from mtlbench import Method, Observation, Vector
from mtlbench.solvers.simplex import project


@dataclass
class SDMGrad(Method):
    """Stochastic direction-oriented multi-objective gradient descent.

    With g₀ the mean gradient and g_w = Σ wᵢ gᵢ, over w on the simplex (paper, section 4)::

        min ½ ‖g_w + λ g₀‖²,    d = (g_w + λ g₀) / (1 + λ)

    The noise of a batch biases the inner products of its gradients upwards; C = J₁J₂ᵀ of two independent batches has
    the right mean, so C (w + λ/K) is an unbiased gradient of the objective. w takes ``iterations`` steps along it, with
    momentum and projected onto the simplex, and the next optimizer step continues from there with zero momentum. d uses
    the gradients of a third batch.

    As in the authors' code, C is first divided by the square of the mean √Cᵢᵢ (negative Cᵢᵢ count as 0), so that ``lr``
    does not depend on the scale of the gradients. λ = 0.6 is the default of that code's class; its runs pass 0.3.

    Deviation: that code adds 10⁻⁸ to the divisor. Here, if no Cᵢᵢ is positive, the batches carry no information on the
    lengths of the gradients, and w stays unchanged.
    """

    name = "sdmgrad"
    source = (
        "Xiao, Ban and Ji, Direction-oriented Multi-objective Learning: Simple and Provable Stochastic Algorithms, "
        "NeurIPS 2023"
    )
    reads = "cross_gram"
    scale = "mean"
    state = "K"
    properties = frozenset({"homogeneous"})
    search = {"lam": "0.05:10:log"}

    lam: Annotated[float, Field(ge=0, description="pull λ of the update towards the mean gradient")] = 0.6
    lr: Annotated[float, Field(gt=0, description="step size of the task weights")] = 10.0
    momentum: Annotated[float, Field(ge=0, lt=1, description="momentum of the task weights")] = 0.5
    iterations: Annotated[int, Field(ge=1, description="steps of the task weights per optimizer step")] = 20

    task_weights: Vector | None = field(default=None, init=False)

    def weights(self, observation: Observation) -> Vector:
        mean = np.full(observation.tasks, 1.0 / observation.tasks)
        weights = mean if self.task_weights is None else self.task_weights
        scale = float(np.sqrt(np.clip(np.diagonal(observation.cross_gram), 0.0, None)).mean())
        if scale > 0.0:
            products = observation.cross_gram / scale / scale
            velocity = np.zeros(observation.tasks)
            for _ in range(self.iterations):
                velocity = self.momentum * velocity + products @ (weights + self.lam * mean)
                weights = project(weights - self.lr * velocity)
        self.task_weights = weights
        return (weights + self.lam * mean) / (1.0 + self.lam)
