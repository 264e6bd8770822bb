"""Aligned-MTL: replace the gradients by the closest orthogonal gradients of equal length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mtlbench import Method, Observation, Vector


@dataclass
class AlignedMTL(Method):
    """Independent component alignment.

    Let G = V Λ Vᵀ over the non-zero eigenvalues. All singular values of the aligned gradients B J equal σ, and the
    update is the sum of the aligned gradients (paper, algorithm 1)::

        B = σ V Λ^(−1/2) Vᵀ,   w = B 1

    σ² is the smallest of these eigenvalues; ``scale_mode`` selects their median or mean instead, as the authors' code
    can. An eigenvalue counts as zero if it is at most K ε times the largest, or at most as large as the most negative
    one, which only rounding can produce. Where norms differ by more than 10⁷, the shorter gradients fall below that
    limit and do not influence the update.

    Deviations: ε is that of double precision, 2·10⁻¹⁶; the authors' code uses that of single precision, 1.2·10⁻⁷. The
    paper weights the aligned gradients by preferences that sum to 1; its code, like the default here, adds them.
    """

    name = "aligned-mtl"
    source = "Senushkin et al., Independent Component Alignment for Multi-Task Learning, CVPR 2023"
    properties = frozenset({"homogeneous"})
    search = {"scale_mode": "min/median/rmse"}

    scale_mode: Annotated[
        Literal["min", "median", "rmse"], Field(description="σ²: the smallest, the median or the mean eigenvalue")
    ] = "min"
    reduction: Annotated[Literal["sum", "mean"], Field(description="add or average the aligned gradients")] = "sum"

    @property
    def scale(self) -> Literal["sum", "mean", "own"]:  # type: ignore[override]
        return self.reduction

    def weights(self, observation: Observation) -> Vector:
        trace = float(np.trace(observation.gram))
        values, vectors = np.linalg.eigh(observation.gram / (trace or 1.0))
        nonzero = values > max(observation.tasks * float(np.finfo(np.float64).eps) * values[-1], -values[0])
        if not nonzero.any():  # all gradients are zero
            return np.zeros(observation.tasks)
        values, vectors = values[nonzero], vectors[:, nonzero]
        median = values[(len(values) - 1) // 2]  # the lower of the middle two
        sigma = np.sqrt({"min": values[0], "median": median, "rmse": values.mean()}[self.scale_mode])
        aligned = vectors @ (sigma / np.sqrt(values) * vectors.sum(axis=0))
        return aligned / (observation.tasks if self.reduction == "mean" else 1.0)
