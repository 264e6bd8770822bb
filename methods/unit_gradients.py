"""Unit gradients: every task gradient scaled to one length, and no surgery."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from mtlbench import Method, Observation, Vector
from mtlbench.solvers import directions


@dataclass
class UnitGradients(Method):
    """Normalisation alone: d = s Σ uᵢ with the unit gradients uᵢ = gᵢ/‖gᵢ‖.

    The direction does not depend on the scale of any loss. ``length`` chooses s: 1 (``one``), the mean of the norms
    ‖gᵢ‖ (``mean``), the largest (``max``), or the norm of the summed gradient ‖Σ gᵢ‖ (``sum``), the rule that is
    published as AvgNorm.

    This is a control: balancing of the gradients' lengths alone, from one step's gradients and without any surgery.
    Where a method that also balances lengths beats ``sum`` and this does not, what it does beyond that is the reason.
    For two tasks the direction is that of ``config``, ``imtl-g`` and ``nash-mtl``, and with the mean the update is that
    of ``config``. ``metabalance[relax=1]`` scales moving averages of the lengths to that of its main task, and
    ``db-mtl`` those of log-losses to the longest.

    AvgNorm multiplies the whole loss and takes its norms over the last shared layer; here only the shared update is
    scaled, from all shared parameters, and heads keep their own losses. K equal gradients g give K² g under AvgNorm. A
    task whose gradient is zero is left out.
    """

    name = "unit-gradients"
    source = (
        "Sener and Koltun, Multi-Task Learning as Multi-Objective Optimization, NeurIPS 2018 (gradients of unit "
        "length, as in its code); length=sum: arXiv 2509.23915, 2025 (AvgNorm)"
    )
    search = {"length": "mean/sum"}

    length: Annotated[
        Literal["one", "mean", "max", "sum"], Field(description="length s that every gradient is scaled to")
    ] = "mean"

    @property
    def scale(self) -> Literal["sum", "mean", "own"]:  # type: ignore[override]
        return "own" if self.length == "sum" else "sum"

    @property
    def properties(self) -> frozenset[Any]:  # type: ignore[override]
        return frozenset({"loss-scale invariant"} if self.length == "one" else {"homogeneous"})

    def weights(self, observation: Observation) -> Vector:
        units = directions(observation.gram)
        if not units.kept.any():
            return units.spread(units.lengths)
        return units.spread(self._length(observation, units.lengths) / units.lengths)

    def _length(self, observation: Observation, norms: Vector) -> float:
        if self.length == "sum":
            return float(np.sqrt(max(0.0, float(observation.gram.sum()))))
        return {"one": 1.0, "mean": float(norms.mean()), "max": float(norms.max())}[self.length]
