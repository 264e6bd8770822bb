"""RLW: random loss weights, drawn anew at every step."""

from __future__ import annotations

from dataclasses import dataclass

from mtlbench import Method, Observation, Vector


@dataclass
class RLW(Method):
    """Random loss weighting.

    Every step draws z ~ N(0, I) and uses w = softmax(z), so Σ wᵢ = 1: in expectation, a step equals that of ``mean``,
    not of ``sum``. The weights apply to the whole loss, heads included. The paper also tries other distributions; the
    normal distribution is its authors' default.
    """

    name = "rlw"
    reads = "losses"
    heads = "weighted"
    scale = "mean"
    symmetry = "in distribution"
    properties = frozenset({"homogeneous", "linear under scaling"})
    source = (
        "Lin et al., Reasonable Effectiveness of Random Weighting: A Litmus Test for Multi-Task Learning, TMLR 2022"
    )

    def weights(self, observation: Observation) -> Vector:
        from scipy.special import softmax

        return softmax(self.generator.normal(size=observation.tasks))
