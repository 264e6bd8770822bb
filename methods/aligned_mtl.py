"""Aligned-MTL: replace the gradients by orthogonal ones of equal length, as close to them as possible."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mtlbench import Method, Observation, Vector


@dataclass
class AlignedMTL(Method):
    """Independent component alignment.

    With G = V Λ Vᵀ over the eigenvalues that are not zero, the aligned gradients B J have all singular values equal to
    σ, and the update is their sum (paper, algorithm 1)::

        B = σ V Λ^(−1/2) Vᵀ,   w = B 1

    σ² is the smallest of these eigenvalues; ``scale_mode`` takes their median or mean instead, as the authors' code
    can. Eigenvalues count as zero up to K ε of the largest, and up to the most negative one, which only rounding makes.
    Where norms differ by more than 10⁷ the shorter gradients fall under that limit, and have no say.

    Deviations: ε is that of double precision, 2·10⁻¹⁶; that of the authors' code, 1.2·10⁻⁷, is of single. The paper
    weights the aligned gradients by preferences that sum to 1; its code, and the default here, take their plain sum.
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
        size = float(np.trace(observation.gram))
        values, vectors = np.linalg.eigh(observation.gram / (size or 1.0))
        kept = values > max(observation.tasks * float(np.finfo(np.float64).eps) * values[-1], -values[0])
        if not kept.any():  # all gradients are zero
            return np.zeros(observation.tasks)
        values, vectors = values[kept], vectors[:, kept]
        middle = values[(len(values) - 1) // 2]  # the lower one of two
        sigma = np.sqrt({"min": values[0], "median": middle, "rmse": values.mean()}[self.scale_mode])
        aligned = vectors @ (sigma / np.sqrt(values) * vectors.sum(axis=0))
        return aligned / (observation.tasks if self.reduction == "mean" else 1.0)
