"""Batched forms of methods whose weights are random draws: rlw, random; and the draws of all problems, ahead of use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from mtlbench.batched.arrays import Grams, Rows
from mtlbench.batched.base import Batched
from mtlbench.batched.forms import form_of
from mtlbench.methods.random import RandomGradients
from mtlbench.methods.rlw import RLW

STEPS_AHEAD = 64
"""Every generator draws the numbers of this many steps in one call, because a call costs more than the numbers."""

Draw = Callable[[np.random.Generator, int], NDArray[Any]]
"""(generator, number of steps) → the numbers of these steps, which must be those of as many calls for one step."""


class Draws:
    """The random numbers of all problems, step by step, each problem's from its own generator.

    :param generators: the generator of each problem.
    :param draw: draws the numbers of several steps from one generator.
    """

    def __init__(self, generators: list[np.random.Generator], draw: Draw) -> None:
        self._generators, self._draw = generators, draw
        self._numbers: NDArray[Any] = np.empty(0)
        self._used = STEPS_AHEAD

    def step(self) -> NDArray[Any]:
        """Return the numbers of the next step, with the problems on the first axis."""
        if self._used == STEPS_AHEAD:
            self._numbers = np.array([self._draw(generator, STEPS_AHEAD) for generator in self._generators])
            self._used = 0
        self._used += 1
        return self._numbers[:, self._used - 1]


@form_of(RLW, RandomGradients)
class RandomWeights(Batched):
    """Random weights: the softmax of normal draws, or uniform on the simplex."""

    draws = True
    numbers: Draws | None = None

    def compute(self, losses: Rows, gram: Grams) -> Rows:
        tasks = (losses if losses.size else gram).shape[1]
        dirichlet = isinstance(self.method, RandomGradients) and self.method.distribution == "dirichlet"
        if self.numbers is None:
            self.numbers = Draws(
                self.generators,
                lambda generator, steps: (
                    generator.dirichlet(np.ones(tasks), size=steps)
                    if dirichlet
                    else generator.normal(size=(steps, tasks))
                ),
            )
        numbers = self.numbers.step()
        return numbers.copy() if dirichlet else softmax(numbers, axis=1)
