"""Group DRO: tasks with high losses gain weight from step to step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from mtlbench import Method, Observation, Vector


@dataclass
class GroupDRO(Method):
    """Group distributionally robust optimization, with tasks as groups.

    min over θ of the largest expected loss, by exponentiated-gradient ascent in the shares of the tasks (algorithm 1)::

        p ← normalise(p ⊙ exp(ηL)), p = 1/K at first;    w = p

    The weights apply to the whole loss, heads included, and know the step's own losses. Step size η = 0 gives the mean.
    Losses of different units compare apples with pears: the task with the largest numbers ends with all the weight.
    """

    name = "group-dro"
    reads = "losses"
    heads = "weighted"
    scale = "mean"
    state = "K"
    properties = frozenset({"homogeneous", "linear under scaling"})
    source = (
        "Sagawa et al., Distributionally Robust Neural Networks for Group Shifts: On the Importance of Regularization "
        "for Worst-Case Generalization, ICLR 2020"
    )
    search = {"step_size": "1e-4:1:log"}

    step_size: Annotated[float, Field(ge=0, description="η: step size of the shares p")] = 0.01

    logits: Vector | None = field(default=None, init=False)

    @property
    def reads_losses(self) -> Literal["no", "any", "positive"]:
        return "any"

    def weights(self, observation: Observation) -> Vector:
        from scipy.special import softmax

        logits = (0.0 if self.logits is None else self.logits) + self.step_size * observation.losses
        self.logits = logits - logits.max()
        return softmax(self.logits)
