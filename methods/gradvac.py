"""GradVac: turn each task's gradient towards the others until their cosines reach a moving target."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mtlbench import Matrix, Method, Observation, Vector

HIGHEST = 1.0 - 1e-6
"""Upper limit of the target: a cosine of 1 would need an infinite multiple of gⱼ."""


@dataclass
class GradVac(Method):
    """Gradient vaccine.

    For every task i, in a fresh random order of the other tasks j, with φ = cos(gᵢ′, gⱼ) and a target φ̂ᵢⱼ (paper,
    algorithm 1)::

        if φ < φ̂ᵢⱼ:   gᵢ′ ← gᵢ′ + ‖gᵢ′‖ (φ̂ᵢⱼ√(1 − φ²) − φ√(1 − φ̂ᵢⱼ²)) / (‖gⱼ‖√(1 − φ̂ᵢⱼ²)) · gⱼ
        φ̂ᵢⱼ ← (1 − β) φ̂ᵢⱼ + β φ

    which raises the cosine to φ̂ᵢⱼ; gⱼ is the *original* gradient, and the update is the sum Σ gᵢ′. Targets start at 0,
    so the first step is that of PCGrad. Each gᵢ′ stays in the span of the gradients, so the computation uses its K
    coordinates and needs inner products only.

    β = 10⁻² is the paper's value; other libraries use .5. They also differ in whether φ̂ᵢⱼ is updated at every pair or
    only at pairs that were changed; ``average=violation`` selects the latter.

    Deviations: all shared parameters form one group; the paper keeps targets per layer. Targets above 1 − 10⁻⁶ count as
    1 − 10⁻⁶. A pair with a gradient of length zero, gᵢ′ included, has no cosine and is skipped.
    """

    name = "gradvac"
    source = (
        "Wang et al., Gradient Vaccine: Investigating and Improving Multi-task Optimization in Massively Multilingual "
        "Models, ICLR 2021"
    )
    scale = "sum"
    symmetry = "in distribution"
    state = "K"
    properties = frozenset({"homogeneous", "linear under scaling"})
    search = {"beta": "1e-3:0.5:log"}

    beta: Annotated[float, Field(ge=0, le=1, description="weight of the new cosine in the moving average")] = 1e-2
    average: Annotated[
        Literal["always", "violation"],
        Field(description="update the target at every pair, or only where it was missed"),
    ] = "always"

    targets: Matrix | None = field(default=None, init=False)

    def weights(self, observation: Observation) -> Vector:
        tasks, gram = observation.tasks, observation.gram
        if self.targets is None:
            self.targets = np.zeros((tasks, tasks))
        lengths = np.sqrt(np.diagonal(gram))
        coordinates = np.eye(tasks)  # row i: the coordinates of gᵢ′
        for i in range(tasks):
            row, products, length = coordinates[i], gram[i].copy(), float(lengths[i])  # products: the ⟨gᵢ′, gⱼ⟩
            for j in self.generator.permutation(tasks).tolist():
                if j == i or length == 0.0 or lengths[j] == 0.0:
                    continue
                target = float(self.targets[i, j])
                cosine = min(max(float(products[j]) / (length * float(lengths[j])), -1.0), 1.0)
                missed = cosine < min(target, HIGHEST)
                if missed:
                    step = length / float(lengths[j]) * _multiple(cosine, min(target, HIGHEST))
                    row[j] += step
                    products += step * gram[j]
                    length = _length(row, products, lengths)
                if missed or self.average == "always":
                    self.targets[i, j] = (1.0 - self.beta) * target + self.beta * cosine
        return coordinates.sum(axis=0)


def _multiple(cosine: float, target: float) -> float:
    """Return sin(θ − θ̂)/sin θ̂, the multiple of gⱼ‖gᵢ′‖/‖gⱼ‖ that turns gᵢ′ from the angle θ to the target angle θ̂."""
    sine, target_sine = math.sqrt(1.0 - cosine**2), math.sqrt(1.0 - target**2)
    return (target * sine - cosine * target_sine) / target_sine


def _length(row: Vector, products: Vector, lengths: Vector) -> float:
    """Return ‖gᵢ′‖, or 0 if it consists of rounding errors only."""
    square, terms = float(row @ products), float(np.abs(row) @ lengths)
    return math.sqrt(square) if square > (1e-7 * terms) ** 2 else 0.0
