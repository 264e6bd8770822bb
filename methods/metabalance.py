"""MetaBalance: bring the lengths of the auxiliary gradients close to that of the main task's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mtlbench import Method, Observation, UsageError, Vector


@dataclass
class MetaBalance(Method):
    """Balancing of the auxiliary gradients' magnitudes against the main task's.

    With moving averages of the gradient norms, mᵢ ← β mᵢ + (1 − β) ‖gᵢ‖ starting from 0, and m that of the main task
    (paper, algorithm 1), the weight of an auxiliary task is::

        wᵢ = r · m/mᵢ + (1 − r)

    and that of the main task is 1. ``strategy`` selects the gradients that this applies to (the others keep weight 1):
    only longer ones, mᵢ > m (strategy A of the paper), only shorter ones (B), or both (C, that of the authors' code).
    r = 0.7 is that code's default; the paper tunes it. A task whose gradients have all been zero so far is left out.

    Deviation: the paper and its code compare the norms per layer; here they are taken over all shared parameters.
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
    relax: Annotated[
        float,
        Field(ge=0, le=1, description="strength r of the balancing: 0 leaves lengths unchanged, 1 makes them equal"),
    ] = 0.7
    beta: Annotated[float, Field(ge=0, lt=1, description="decay of the averaged norms at each step")] = 0.9
    strategy: Annotated[
        Literal["both", "reduce", "enlarge"],
        Field(description="auxiliary gradients whose length changes: all, only longer ones, only shorter ones"),
    ] = "both"

    lengths: Vector | None = field(default=None, init=False)

    def weights(self, observation: Observation) -> Vector:
        if self.main >= observation.tasks:
            raise UsageError(
                f"method {self.name}: main={self.main} counts from 0, and there are {observation.tasks} tasks"
            )
        previous = np.zeros(observation.tasks) if self.lengths is None else self.lengths
        self.lengths = self.beta * previous + (1.0 - self.beta) * np.sqrt(np.diagonal(observation.gram))
        main = self.lengths[self.main]
        nonzero = self.lengths > 0.0
        ratios = np.divide(main, self.lengths, out=np.zeros(observation.tasks), where=nonzero)
        weights = np.where(nonzero, self.relax * ratios + (1.0 - self.relax), 0.0)
        if self.strategy != "both":
            rescaled = self.lengths > main if self.strategy == "reduce" else self.lengths < main
            weights[nonzero & ~rescaled] = 1.0
        weights[self.main] = 1.0
        return weights
