"""The problem under test, and short trainings of it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mtlbench.contract.method import Method
from mtlbench.engine.processes import ALONE
from mtlbench.plan.cells import Workload
from mtlbench.plugins.registry import Registry
from mtlbench.problem.default_suite import suite_of
from mtlbench.problem.interface import Session
from mtlbench.problem.loaded import LoadedProblem
from mtlbench.training.train import Training

STEPS = 6
"""Optimizer steps of a training; all states are compared after these, or after half of them."""
FEW_STEPS = {
    "tasks": (),
    "steps": STEPS,
    "evaluations": 2,
    "measure_every": 2,
    "head_steps": 0,
    "sampling": "uniform",
    "accumulate": 1,
    "processes": 1,
    "threads": 1,
    "device": "cpu",
    "precision": "float32",
}
"""Changes of the problem's recipe: all of its tasks, on the CPU, for a few steps."""
TIMES = ("seconds", "elapsed")
"""Fields of a history that differ between equal trainings."""


@dataclass(frozen=True)
class Trace:
    """The state of a training after some steps, as values that can be compared.

    :param tensors: name → parameter or buffer.
    :param history: rows so far, without times.
    :param rest: optimizer, method, scores and outputs.
    """

    tensors: dict[str, torch.Tensor]
    history: list[dict[str, Any]]
    rest: dict[str, Any]

    def difference(self, other: Trace) -> str | None:
        """Return what first differs from another trace, in words, or ``None`` if every bit is the same.

        :param other: the other trace.
        """
        for mine, theirs in zip(self.history, other.history, strict=False):
            if mine != theirs:
                return f"{'the scores' if 'scores' in mine else 'the losses'} of step {mine['step']}"
        if len(self.history) != len(other.history):
            return "the number of steps"
        for name, tensor in self.tensors.items():
            if not torch.equal(tensor, other.tensors[name]):
                return f"the values of {name}"
        return None if _equal(self.rest, other.rest) else "the state of the optimizer or of the method"


class Subject:
    """The problem under test.

    :param spec: its spec.
    :param registry: the plugins in which it is found.
    :param data_dir: folder of data files.
    """

    def __init__(self, spec: str, registry: Registry, data_dir: Path | None) -> None:
        self.spec, self.registry, self.data_dir = spec, registry, data_dir

    def load(self, **changes: Any) -> Workload:
        """Load the problem anew, as another process would: no state of an earlier training is in it.

        :param changes: further changes of its recipe.
        :raises UsageError: for faults of the author's tasks, rows or recipe.
        """
        suite = suite_of(self.registry.problem(self.spec))
        recipe = suite.recipe({**FEW_STEPS, **changes})
        return Workload.load(suite.name, recipe, self.registry, data_dir=self.data_dir)

    def declared(self) -> Workload:
        """Load the problem anew, with all steps of its recipe."""
        suite = suite_of(self.registry.problem(self.spec))
        return Workload.load(suite.name, suite.recipe({"tasks": ()}), self.registry, data_dir=self.data_dir)

    @cached_property
    def workload(self) -> Workload:
        """The problem, loaded once, for checks that need no new one."""
        return self.load()

    @property
    def loaded(self) -> LoadedProblem:
        """The problem with its rows."""
        problem = self.workload.problem
        assert isinstance(problem, LoadedProblem)
        return problem

    @property
    def tasks(self) -> list[str]:
        """The names of all tasks."""
        return [task.key for task in self.workload.tasks]

    def method(self, name: str) -> Method:
        """Return a new method.

        :param name: its spec.
        """
        method = self.registry.method(name)
        method.reseed(0)
        return method

    def session(self, name: str, positions: Sequence[int], seed: int = 0) -> Session:
        """Return a new model with its batches.

        :param name: spec of the method that is to train it.
        :param positions: positions of the tasks that it trains on.
        :param seed: the cell's seed.
        """
        rows = self.loaded.prepare(self.workload.recipe, self.method(name), seed)
        return rows.session(positions, ALONE)


def trace(training: Training, steps: int) -> Trace:
    """Train until some steps are done, and return a copy of the state.

    :param training: a new training, or one that was loaded.
    :param steps: optimizer steps, of all models.
    """
    state: dict[str, Any] = {}
    for done in training.run():
        if done == steps:
            state = deepcopy(training.state_dict())
            break
    current = state["current"]
    rest = {name: current[name] for name in ("optimizer", "schedule", "scores", "outputs", "labels")}
    history = [{name: value for name, value in row.items() if name not in TIMES} for row in training.result().history]
    return Trace(current["model"], history, {**rest, "method": state["method"]})


def disturb() -> None:
    """Draw from the global generators, as other code of a process may."""
    torch.rand(7)
    np.random.random(5)
    random.random()


def _equal(one: Any, other: Any) -> bool:
    """Return whether nested values are the same, bit for bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and one.dtype == other.dtype and one.tobytes() == other.tobytes()
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(_equal(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)
