"""PCD: follow the main task, but grant every other task a share of its own progress."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from mtlbench import Matrix, Method, Observation, Vector
from mtlbench.solvers import cone_violation, factor, nearest_feasible, solving


@dataclass
class PCD(Method):
    """Priority-constrained descent.

    With normalised gradients g̃ᵢ = gᵢ/√v̂ᵢ, where v̂ᵢ is the bias-corrected moving average of ‖gᵢ‖² with decay β, the
    update is the vector closest to the main task's gradient that grants every other task j at least the fraction τ of
    the progress along its own gradient (paper, definition 4.1)::

        d̃ = argmin ½‖d − g̃₁‖²   subject to   ⟨g̃ⱼ, d⟩ ≥ τ‖g̃ⱼ‖²   for j ≠ 1

    rescaled to ‖g₁‖. If the main task's gradient or d̃ is zero, so is the update. If no d satisfies all constraints,
    they are dropped for that step, and the update is g₁ (paper, algorithm 1).

    Solver: d̃ = g̃₁ + Σ μⱼ uⱼ over the unit gradients. The least-distance problem of Lawson and Hanson, a non-negative
    least-squares problem, yields μ ≥ 0 or shows that the constraints are incompatible. A solution is accepted when the
    constraints hold, with equality where μⱼ > 0. The paper enumerates all sets of constraints. A task whose gradient is
    zero imposes no constraint.

    Deviation: the paper's ε = 10⁻⁸ in 1/√(v̂ᵢ + ε) would shrink the influence of gradients below 10⁻⁴; it is omitted.
    """

    name = "pcd"
    source = (
        "Varam and AlHajri, Not All Objectives Are Born Equal: Priority-Constrained Descent for Hierarchical "
        "Multi-Objective Optimization, TMLR 2026"
    )
    scale = "mean"
    symmetry = "main task"
    state = "K"
    properties = frozenset({"homogeneous", "linear under scaling"})
    search = {"tau": "2e-3:0.5:log"}

    main: Annotated[int, Field(ge=0, description="position of the main task, counted from 0")] = 0
    tau: Annotated[float, Field(ge=0, le=1, description="share τ of its own progress that every other task keeps")] = (
        0.02
    )
    beta: Annotated[float, Field(ge=0, lt=1, description="decay of the moving average of the squared norms")] = 0.999

    steps: int = field(default=0, init=False)
    average: Vector | None = field(default=None, init=False)

    @property
    def min_tasks(self) -> int:
        return self.main + 1

    def weights(self, observation: Observation) -> Vector:
        squares = np.diagonal(observation.gram)
        previous = np.zeros(observation.tasks) if self.average is None else self.average
        self.average, self.steps = self.beta * previous + (1.0 - self.beta) * squares, self.steps + 1
        with solving(self.name):
            coordinates, length = self._direction(observation)
        norms = np.sqrt(squares)
        return coordinates * (norms[self.main] / (length or 1.0)) / np.where(norms > 0.0, norms, 1.0)

    def residual(self, observation: Observation, weights: Vector) -> float | None:
        """Return the violation of the constraints, using the averages as of this step."""
        norms = np.sqrt(np.diagonal(observation.gram))
        if weights[self.main] == 0.0 or norms[self.main] == 0.0:  # valid only where the update must be zero
            solution, _ = self._direction(observation)
            return float("inf") if solution.any() or weights.any() else 0.0
        units, lengths, others, bounds = self._problem(observation)
        if nearest_feasible(units[others], bounds) is None:
            return float(np.abs(weights - np.eye(observation.tasks)[self.main]).max())
        coordinates = weights * norms * (lengths[self.main] / (weights[self.main] * norms[self.main]))
        slack = units[others] @ (coordinates[others] @ units[others]) - bounds
        return cone_violation(slack, coordinates[others], float(np.abs(bounds).max(initial=0.0)))

    def _direction(self, observation: Observation) -> tuple[Vector, float]:
        """Return the coordinates of d̃ over the unit gradients, and its length; zeros where d̃ is zero."""
        coordinates = np.zeros(observation.tasks)
        if observation.gram[self.main, self.main] == 0.0:
            return coordinates, 0.0
        units, lengths, others, bounds = self._problem(observation)
        multipliers = nearest_feasible(units[others], bounds)
        coordinates[self.main] = lengths[self.main]
        if multipliers is not None:
            coordinates[others] = multipliers
        length = float(np.linalg.norm(coordinates @ units) / np.linalg.norm(units[self.main]))
        if length <= 1e-7 * coordinates.sum():  # a Gram matrix of 16 digits cannot resolve a shorter one
            return np.zeros(observation.tasks), 0.0
        return coordinates, length

    def _problem(self, observation: Observation) -> tuple[Matrix, Vector, NDArray[np.intp], Vector]:
        """Return U, all ‖g̃ᵢ‖, the constrained tasks j, and h: x = d − g̃₁ must satisfy ⟨uⱼ, x⟩ ≥ hⱼ."""
        assert self.average is not None
        squares = np.diagonal(observation.gram)
        corrected = self.average / (1.0 - self.beta**self.steps)
        lengths = np.sqrt(squares / np.where(corrected > 0.0, corrected, 1.0))
        norms = np.where(squares > 0.0, np.sqrt(squares), 1.0)
        units = factor(observation.gram / np.outer(norms, norms))
        others = np.array([j for j in range(observation.tasks) if j != self.main and squares[j] > 0.0], dtype=np.intp)
        bounds = self.tau * lengths[others] - lengths[self.main] * (units[others] @ units[self.main])
        return units, lengths, others, bounds
