"""B copies of a method, called one by one: the fallback for methods without a batched form, and the tests' oracle."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mtlbench.batched.arrays import Grams, Rows
from mtlbench.batched.base import Batched, row
from mtlbench.contract.method import Method
from mtlbench.contract.method_output import ask_weights, tell_after
from mtlbench.contract.observation import Vector
from mtlbench.errors import CellError, SolverError, UsageError


class OneByOne(Batched):
    """B objects of one method, each with its own state and generator. Works for every method that returns weights.

    :param method: the method with its parameters.
    :param seeds: the seed of each problem.
    """

    draws = True  # a method without a form may draw

    def __init__(self, method: Method, seeds: Sequence[int], drawn_by: str | None = None) -> None:
        super().__init__(method, seeds, drawn_by)
        self.methods = [type(method).make(method.parameters) for _ in self.seeds]
        for copy, seed in zip(self.methods, self.seeds, strict=True):
            copy.reseed(seed)

    def compute(self, losses: Rows, gram: Grams) -> Rows:
        weights = np.full((losses if losses.size else gram).shape[:2], np.nan)
        for problem in np.flatnonzero(~self.failed).tolist():
            observation = row(problem, losses, gram)
            try:
                weights[problem] = ask_weights(self.methods[problem], observation)
            except (UsageError, CellError, SolverError) as error:
                self.fail(problem, error)
        return weights

    def learn(self, losses: Rows) -> None:
        for problem in np.flatnonzero(~self.failed).tolist():
            try:
                tell_after(self.methods[problem], losses[problem])
            except (UsageError, CellError, SolverError) as error:
                self.fail(problem, error)

    def residual(self, losses: Rows | None, gram: Grams | None, weights: Rows) -> Vector | None:
        found = [
            method.residual(row(problem, losses, gram), weights[problem]) for problem, method in enumerate(self.methods)
        ]
        return None if None in found else np.array(found, dtype=np.float64)
