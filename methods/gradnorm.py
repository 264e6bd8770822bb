"""GradNorm: learn loss weights that make all tasks train at similar rates."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mtlbench import Method, Observation, Vector
from mtlbench.contract.method import Parameters
from mtlbench.solvers.adam import Adam

EPSILON = 1e-30  # only avoids 0/0: Adam's usual 1e-8 would matter for tiny gradients


@dataclass
class GradNorm(Method):
    """Gradient normalization for adaptive loss balancing.

    With nᵢ = ‖∇_W wᵢLᵢ‖, rates r̃ᵢ = Lᵢ/Lᵢ(0) and rᵢ = r̃ᵢ / mean r̃, the weights descend (paper, equation 2)::

        Σ |nᵢ − mean(n) · rᵢ^α|

    with the second term held constant, and are then renormalised to Σ wᵢ = K (paper, algorithm 1). W is the last
    shared layer, as in the paper; ``parameters_of=shared`` takes all shared parameters. The network's step uses the
    weights from before the update, and the heads descend the weighted loss, since the paper weights the loss itself.
    Lᵢ(0) is the loss of the first step.

    Deviations: the paper does not name the optimizer of w; this code uses Adam, whose step does not depend on the scale
    of the gradients. Before the renormalisation, weights are clamped to at least 10⁻³; in the paper they may turn
    negative.
    """

    name = "gradnorm"
    heads = "weighted"
    scale = "sum"
    state = "K"
    source = "Chen et al., GradNorm: Gradient Normalization for Adaptive Loss Balancing, ICML 2018"
    search = {"alpha": "0:3"}

    alpha: Annotated[float, Field(ge=0, description="strength of the pull to equal training rates")] = 1.5
    lr: Annotated[float, Field(gt=0, description="learning rate of the task weights")] = 0.025
    parameters_of: Annotated[
        Literal["last_shared_layer", "shared"], Field(description="the parameters W whose gradient norms are balanced")
    ] = "last_shared_layer"

    task_weights: Vector | None = field(default=None, init=False)
    first_losses: Vector | None = field(default=None, init=False)
    adam: Adam = field(default_factory=Adam, init=False)

    @property
    def reads_losses(self) -> Literal["no", "any", "positive"]:
        return "any"

    @property
    def gram_of(self) -> Parameters:
        return self.parameters_of

    def weights(self, observation: Observation) -> Vector:
        norms = np.sqrt(np.clip(np.diagonal(observation.gram), 0.0, None))
        if self.task_weights is None or self.first_losses is None:
            self.task_weights, self.first_losses = np.ones(observation.tasks), observation.losses.copy()
        weights = self.task_weights
        rates = observation.losses / np.where(self.first_losses > 0.0, self.first_losses, 1.0)
        rates = rates / (rates.mean() or 1.0)
        weighted_norms = weights * norms
        target = weighted_norms.mean() * np.clip(rates, 0.0, None) ** self.alpha
        updated = self.adam.step(weights, np.sign(weighted_norms - target) * norms, self.lr, epsilon=EPSILON)
        updated = np.maximum(updated, 1e-3)
        self.task_weights = len(updated) * updated / updated.sum()
        return weights.copy()
