"""MetaBalance: bring the auxiliary gradients' lengths near the main task's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mtlbench import Method, Observation, UsageError, Vector


@dataclass
class MetaBalance(Method):
    """Balancing of auxiliary gradients' magnitudes against the main task's.

    With moving averages of the gradients' norms, mᵢ ← β mᵢ + (1 − β) ‖gᵢ‖ from 0, and m the main task's (paper,
    algorithm 1), the weight of an auxiliary task is::

        wᵢ = r · m/mᵢ + (1 − r)

    and that of the main task 1. ``strategy`` is which gradients it applies to (the others keep weight 1): longer ones
    only, mᵢ > m (strategy A of the paper), shorter ones only (B), or both (C, that of the authors' code). r = 0.7 is
    that code's default; the paper tunes it. A task whose gradients were all zero so far is left out.

    Deviation: the paper and its code compare the norms layer by layer; here over all shared parameters at once.
    """

    name = "metabalance"
    source = (
        "He et al., MetaBalance: Improving Multi-Task Recommendations via Adapting Gradient Magnitudes of Auxiliary "
        "Tasks, WWW 2022"
    )
    scale = "sum"
    symmetry = "main task"
    state = "K"
    properties = frozenset({"homogeneous"})
    search = {"relax": "0.1:1"}

    main: Annotated[int, Field(ge=0, description="position of the main task, counted from 0")] = 0
    relax: Annotated[float, Field(ge=0, le=1, description="how near lengths are brought: 0 not at all, 1 equal")] = 0.7
    beta: Annotated[float, Field(ge=0, lt=1, description="how much of the averaged norms is kept at a step")] = 0.9
    strategy: Annotated[
        Literal["both", "reduce", "enlarge"], Field(description="which auxiliary gradients change their length")
    ] = "both"

    lengths: Vector | None = field(default=None, init=False)

    def weights(self, observation: Observation) -> Vector:
        if self.main >= observation.tasks:
            raise UsageError(
                f"method {self.name}: main={self.main} counts from 0, and there are {observation.tasks} tasks"
            )
        before = np.zeros(observation.tasks) if self.lengths is None else self.lengths
        self.lengths = self.beta * before + (1.0 - self.beta) * np.sqrt(np.diagonal(observation.gram))
        main = self.lengths[self.main]
        moving = self.lengths > 0.0
        ratios = np.divide(main, self.lengths, out=np.zeros(observation.tasks), where=moving)
        weights = np.where(moving, self.relax * ratios + (1.0 - self.relax), 0.0)
        if self.strategy != "both":
            applies = self.lengths > main if self.strategy == "reduce" else self.lengths < main
            weights[moving & ~applies] = 1.0
        weights[self.main] = 1.0
        return weights
