"""The rows of one cell: which training rows each step's batches hold, by seed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mtlbench.contract.method import Method
from mtlbench.engine.processes import Processes
from mtlbench.errors import UsageError
from mtlbench.problem.evaluation import Unit
from mtlbench.problem.hooks import Hooks
from mtlbench.problem.sampling import batch_sizes
from mtlbench.problem.schedule import batch_schedule
from mtlbench.problem.session import ProblemSession
from mtlbench.problem.splits import Split
from mtlbench.problem.structure import Structure
from mtlbench.recipe.suite import Recipe

SHARED = ""
"""Stands for all tasks in the seed of a schedule: a task has a name."""
Steps = Sequence[NDArray[np.int64]]
"""For each step, the numbers of its rows."""


class ProblemRows:
    """The batches of a cell.

    Tasks on shared batches have one schedule: an epoch is a permutation of all training rows, whatever labels they
    have. Where the problem is ``separate``, every task has a schedule of the rows with its label.

    :param hooks: the author's code.
    :param splits: the rows by split.
    :param units: by task, the unit of its labels.
    :param structure: the model's parts.
    :param recipe: the recipe, with steps.
    :param method: says how many independent batches a step has, and whether tasks train jointly.
    :param seed: the cell's seed.
    :raises UsageError: when a step's batch has no label of a task.
    """

    def __init__(
        self,
        hooks: Hooks,
        splits: Mapping[str, Split],
        units: Mapping[str, Unit],
        structure: Structure,
        recipe: Recipe,
        method: Method,
        seed: int,
    ) -> None:
        self._hooks, self._splits, self._units, self._structure = hooks, splits, units, structure
        self._recipe, self._seed = recipe, seed
        assert recipe.steps is not None
        train, targets = splits["train"], hooks.targets
        rows = [int(train.labelled[target.name].sum()) for target in targets]
        sizes = np.full((recipe.steps, len(targets)), recipe.batch_size)
        if hooks.problem.separate:
            sizes = batch_sizes(
                recipe.sampling, rows, batch_size=recipe.batch_size, steps=recipe.steps, parts=recipe.parts
            )
        weights = sizes / recipe.batch_size if method.joint else np.ones(sizes.shape)  # a task alone needs no weight
        self._weights = list(weights.T)
        self._schedules = [self._draw(sizes, number) for number in range(method.batches)]
        if not hooks.problem.separate:
            for number, (steps,) in enumerate(self._schedules):
                self._check(steps, number)
        self.cut: Mapping[str, Mapping[str, int]] = {}
        """Nothing is ever cut off."""
        self.seen: Mapping[str, int] = {
            target.name: sum(int(train.labelled[target.name][rows].sum()) for rows in self._steps(position))
            for position, target in enumerate(targets)
        }
        """Task → training rows with a label of it that the steps take, each as often as it is taken."""

    def session(self, tasks: Sequence[int], processes: Processes) -> ProblemSession:
        """Return a new model, ready for its first step.

        :param tasks: positions of the tasks that it trains on: all, or one for the single-task baseline, which has the
            same initial weights, batches and random numbers.
        :param processes: the processes that train it together.
        """
        separate = self._hooks.problem.separate
        chosen = [[steps[task] for task in tasks] if separate else steps for steps in self._schedules]
        return ProblemSession(
            self._hooks,
            self._splits,
            self._units,
            self._structure,
            self._recipe,
            tasks,
            chosen,
            [self._weights[task] for task in tasks],
            {self._hooks.targets[task].name: _fingerprint(self._steps(task)) for task in tasks},
            self._seed,
            processes,
        )

    def _steps(self, task: int) -> Steps:
        return self._schedules[0][task if self._hooks.problem.separate else 0]

    def _draw(self, sizes: NDArray[np.int64], number: int) -> list[Steps]:
        """Return the steps' rows of one of their batches: one list for all tasks, or one for each."""
        train = self._splits["train"]
        if not self._hooks.problem.separate:
            total = int(sizes[:, 0].sum())
            drawn = batch_schedule(self._seed, SHARED, len(train), total, number)
            return [drawn.reshape(len(sizes), -1)]  # type: ignore[list-item]  # an array of steps
        result: list[Steps] = []
        for task, column in zip(self._hooks.targets, sizes.T, strict=True):
            numbers = train.numbers(task.name)
            drawn = batch_schedule(self._seed, task.name, len(numbers), int(column.sum()), number)
            result.append(np.split(numbers[drawn], np.cumsum(column)[:-1]))
        return result

    def _check(self, steps: Steps, number: int) -> None:
        for target in self._hooks.targets:
            mask = self._splits["train"].labelled[target.name]
            if mask.all():
                continue
            labelled = mask[np.asarray(steps)].any(axis=1)
            if not labelled.all():
                batch = f"batch {number + 1}" if number else "the batch"
                raise UsageError(
                    f"problem {self._hooks.problem.name}: {batch} of step {int(labelled.argmin()) + 1} has no label of "
                    f"task {target.name}, which {int(mask.sum())} of {len(mask)} training rows have: use a larger "
                    "batch_size, or separate = True for a batch of its own for every task"
                )


def _fingerprint(steps: Steps) -> str:
    return hashlib.sha256(b"".join(rows.tobytes() for rows in steps)).hexdigest()
