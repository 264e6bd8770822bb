"""UW: weight each loss by a variance that is learned with the network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mtlbench import Method, Observation, UsageError, Vector
from mtlbench.solvers.adam import Adam


@dataclass
class UncertaintyWeighting(Method):
    """Uncertainty weighting.

    A task's loss is the negative log-likelihood of a model with its own variance σᵢ²; sᵢ = log σᵢ² is learned with the
    network, starting from s = 0 (σ = 1). The loss is::

        Σ ½ e^(−sᵢ) Lᵢ + ½ sᵢ    regression: Lᵢ is a squared error, and wᵢ = ½ e^(−sᵢ)
        Σ   e^(−sᵢ) Lᵢ + ½ sᵢ    classification: Lᵢ is a cross-entropy, and wᵢ = e^(−sᵢ)

    Both pull wᵢ towards 1/(2 Lᵢ). The weights of a step use s before its update, as in one backward pass through the
    loss, and apply to the whole loss, heads included. Negative losses are an error: the loss then has no minimum in s.

    Deviations: the paper chooses the form of each task by its kind; here all tasks share one form, by default the ½
    form of published code. The paper trains s with the network's optimizer; here s has its own Adam with learning rate
    .025, as in the experiments of Nash-MTL and FAMO, because the rate of a pretrained network would hardly move it.
    """

    name = "uw"
    reads = "losses"
    heads = "weighted"
    state = "K"
    properties = frozenset({"homogeneous", "linear under scaling"})
    source = (
        "Kendall, Gal and Cipolla, Multi-Task Learning Using Uncertainty to Weigh Losses for Scene Geometry and "
        "Semantics, CVPR 2018"
    )
    search = {"lr": "0.0025:0.25:log"}

    form: Annotated[
        Literal["regression", "classification"], Field(description="factor of exp(−s) in the loss: ½ or 1")
    ] = "regression"
    lr: Annotated[float, Field(gt=0, description="learning rate of the log-variances s")] = 0.025

    log_variances: Vector | None = field(default=None, init=False)
    adam: Adam = field(default_factory=Adam, init=False)

    @property
    def reads_losses(self) -> Literal["no", "any", "positive"]:
        return "any"

    def weights(self, observation: Observation) -> Vector:
        if (observation.losses < 0.0).any():
            raise UsageError(f"method uw needs losses that are not negative: {observation.losses.tolist()}")
        s = np.zeros(observation.tasks) if self.log_variances is None else self.log_variances
        weights = (0.5 if self.form == "regression" else 1.0) * np.exp(-s)
        self.log_variances = self.adam.step(s, 0.5 - weights * observation.losses, self.lr)
        return weights
