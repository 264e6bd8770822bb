"""MGDA-UB: MGDA on the gradients of the shared representation, an upper bound for the cost of one backward pass."""

from __future__ import annotations

from dataclasses import dataclass

from mtlbench.contract.method import Parameters
from mtlbench.methods.mgda import MGDA


@dataclass
class MGDAUB(MGDA):
    """Multiple-gradient descent algorithm, upper bound.

    With a representation Z between shared parameters θ and heads, ∇_θ Lᵢ = (∂Z/∂θ)ᵀ ∇_Z Lᵢ, so ‖Σ wᵢ ∇_θ Lᵢ‖ is at
    most ‖∂Z/∂θ‖ ‖Σ wᵢ ∇_Z Lᵢ‖, and w minimises the second factor over the simplex (paper, section 3.3, MGDA-UB). The
    gradients of Z come from the heads alone; one backward pass through the encoder then follows, for the weighted sum.

    With one batch for all tasks, this is the paper's problem. Where every task has its own batch, as in the text suites
    of this benchmark, the Zs are different tensors with orthogonal gradients, so wᵢ ∝ 1/‖∇_Z Lᵢ‖², the inverse squared
    norms. A task whose gradient with respect to Z is zero then takes all the weight.

    The guarantees of MGDA hold for the gradients of Z; the update of θ need not be a descent direction for every task.
    ``normalize`` and the solver are those of MGDA.
    """

    name = "mgda-ub"
    source = "Sener and Koltun, Multi-Task Learning as Multi-Objective Optimization, NeurIPS 2018"
    properties = frozenset({"homogeneous"})

    @property
    def gram_of(self) -> Parameters:
        return "representation"
