"""An author's problem with its rows, ready for keys, records and training."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from mtlbench.contract.entries import EncoderEntry, TaskEntry
from mtlbench.contract.method import Method
from mtlbench.contract.problem import Problem, Target
from mtlbench.errors import CellError, UsageError, is_out_of_memory, said
from mtlbench.plugins.fingerprint import source_fingerprint
from mtlbench.problem.batch import TrainingRows
from mtlbench.problem.conditions import refuse_method, refuse_options
from mtlbench.problem.description import describe
from mtlbench.problem.evaluation import Unit
from mtlbench.problem.hooks import Hooks
from mtlbench.problem.rows import ProblemRows
from mtlbench.problem.splits import Split, check_labels, checked_splits, limited, load_data, one_batch
from mtlbench.problem.structure import Structure, probe
from mtlbench.problem.targets import chosen_targets
from mtlbench.recipe.suite import Recipe

PROBLEM_PROTOCOL = 1
"""Version of the training arithmetic of problems: batches, seeds, engine, and defaults outside of the recipe.

It is part of every key, and is raised by one when the arithmetic changes, so that older cells no longer count as done:
the code outside of a problem's and a method's file is in no fingerprint. Tasks on texts have a number of their own.
"""
TRIAL_ROWS = 32
"""Most rows of the batch that tries a model before training."""


class LoadedProblem:
    """A problem with its rows, as a recipe chooses them; see :class:`mtlbench.problem.interface.Loaded`.

    :param problem: the problem.
    :param recipe: names the tasks and limits the rows.
    :param data_dir: the folder from ``--data-dir``.
    :param trial: the structure of the model, where another process has tried it.
    :raises UsageError: when an option of the recipe has no meaning for a problem, and for faults in the author's tasks
        and rows, in one line that names problem and task.
    """

    def __init__(
        self, problem: Problem, recipe: Recipe, data_dir: Path | None = None, trial: Structure | None = None
    ) -> None:
        self.problem = problem
        refuse_options(problem, recipe)
        self._data = load_data(problem, data_dir)  # first, because the classes of a file's column may be the targets'
        self.tasks: tuple[Target, ...] = chosen_targets(problem, recipe.tasks)
        """The tasks, in the order of the heads."""
        self.splits: Mapping[str, Split] = limited(checked_splits(problem, self._data, self.tasks), recipe, problem)
        """The rows by split, with labels in one form."""
        check_labels(self.splits, self.tasks, problem)
        self._units = {target.name: Unit.of(problem, target, self.splits["train"]) for target in self.tasks}
        self._complete = len(chosen_targets(problem)) == len(self.tasks)
        self._hooks, self._batch_size = Hooks(problem, self.tasks), recipe.batch_size
        if trial is not None:
            self.structure = trial

    @property
    def title(self) -> str:
        """The problem's spec."""
        return self.problem.spec

    @property
    def libraries(self) -> tuple[str, ...]:
        """Packages that affect results here and not elsewhere: none that is known."""
        return ()

    @property
    def rows(self) -> int:
        """The number of training rows of an epoch: all, or where tasks have batches of their own, the largest's."""
        train = self.splits["train"]
        return max(int(mask.sum()) for mask in train.labelled.values()) if self.problem.separate else len(train)

    @property
    def trial(self) -> Structure:
        """The model's parts, which decide how its cells train."""
        return self.structure

    @cached_property
    def structure(self) -> Structure:
        """The model's parts, found by trying it on a batch.

        :raises UsageError: for a fault of the model, its outputs or its losses; names problem and hook.
        """
        train = self.splits["train"]
        targets = {
            target.name: self._units[target.name].targets(target, train.labels[target.name]) for target in self.tasks
        }
        rows = TrainingRows(self._hooks, train, targets)
        try:
            return probe(self._hooks, rows, min(self._batch_size, TRIAL_ROWS), complete=self._complete)
        except CellError as error:
            raise UsageError(str(error)) from error
        except UsageError:
            raise
        except Exception as error:  # a backward pass may run an author's code too
            if is_out_of_memory(error):
                raise
            raise UsageError(f"problem {self.problem.name}: a trial of its model raised {said(error)}") from error

    @cached_property
    def fingerprint(self) -> str:
        """The hash of all rows, before the recipe limits them.

        :raises UsageError: when the inputs have none.
        """
        try:
            return self._data.fingerprint
        except UsageError as error:
            raise UsageError(f"problem {self.problem.name}: {error}") from None
        except Exception as error:  # an author's object has the fingerprint, or NumPy cannot read the inputs
            raise UsageError(f"problem {self.problem.name}: the rows' fingerprint raised {said(error)}") from error

    def hash_rows(self) -> str:
        """Hash all rows again: whatever has changed them since they were loaded shows."""
        return replace(self._data).fingerprint

    def recipe(self, recipe: Recipe) -> Recipe:
        """Return the recipe with the problem's canonical spec and the names of all chosen tasks.

        :param recipe: as the user wrote it.
        """
        names = tuple(target.name for target in self.tasks)
        return recipe.model_copy(update={"problem": self.problem.spec, "tasks": names})

    def identity(self, recipe: Recipe) -> dict[str, Any]:
        """Return everything besides method, seed and the recipe's own fields that decides results, as plain data.

        :param recipe: the canonical recipe.
        """
        return {
            "protocol": PROBLEM_PROTOCOL,
            "problem": {
                "name": self.problem.name,
                "parameters": self.problem.counted_parameters,
                "source": source_fingerprint(type(self.problem)),
                "data": self.fingerprint,
            },
            "tasks": [
                {"name": t.name, "prediction": t.prediction, "outputs": int(t.outputs), "metrics": list(t.metrics)}
                for t in self.tasks
            ],
        }

    def check(self, recipe: Recipe) -> None:
        """Try the model once, before a grid begins.

        :param recipe: the canonical recipe.
        :raises UsageError: when the model does not suit these tasks or this recipe.
        """
        self._check_model(recipe)
        self.describe()  # which tries the metrics on trivial answers, and reads the rows' fingerprint

    def _check_model(self, recipe: Recipe) -> None:
        refuse_options(self.problem, recipe)
        structure = self.structure
        if recipe.parts > 1 and structure.updates_buffers:
            raise UsageError(
                f"problem {self.problem.name}: its model has running statistics, such as BatchNorm's, which differ "
                "between parts of a batch: use no accumulate and no processes"
            )

    def accept(self, recipe: Recipe, method: Method) -> None:
        """Refuse a method that needs what the problem does not declare.

        :param recipe: the canonical recipe.
        :param method: the method.
        :raises UsageError: naming method and problem.
        """
        refuse_method(self.problem, self.structure, recipe, method)

    def notes(self, recipe: Recipe) -> list[str]:
        """Return no warning: all that could be wrong is an error.

        :param recipe: the canonical recipe.
        """
        return []

    def alone(self, task: int, rows: int) -> LoadedProblem:
        """Return one task with one batch of its rows, to train on and to score.

        :param task: the task's position.
        :param rows: the most rows.
        """
        single, target = copy.copy(self), self.tasks[task]
        for name in ("structure", "_description"):
            single.__dict__.pop(name, None)  # it is that of all tasks
        single._complete = False
        single.tasks, single._hooks = (target,), Hooks(self.problem, (target,))
        batch = one_batch(self.splits["train"], target, rows)
        single.splits = {"train": batch, "dev": batch}
        single._batch_size = len(batch)
        return single

    def describe(self) -> dict[str, TaskEntry]:
        """Return each task's rows, source, trivial floors and oddities, by its name, as records have them."""
        return self._description

    @cached_property
    def _description(self) -> dict[str, TaskEntry]:
        return describe(self.tasks, self.splits, self._data.source, self.fingerprint)

    def entry(self) -> EncoderEntry:
        """Return the problem's model, as records have it."""
        identity = [self.problem.name, self.problem.parameters, source_fingerprint(type(self.problem))]
        return {
            "spec": self.problem.spec,
            "name": self.title,
            "fingerprint": hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest(),
            "tuned_on": [],
            "parameters": self.structure.parameters,
            "trainable": self.structure.trainable,
        }

    def prepare(self, recipe: Recipe, method: Method, seed: int) -> ProblemRows:
        """Return the rows of one cell.

        :param recipe: the canonical recipe, with steps.
        :param method: it says how many independent batches a step has, and whether tasks train jointly.
        :param seed: of initial weights, batches and dropout masks.
        :raises UsageError: when the method needs what the problem does not declare, or a step's batch has no label of
            a task.
        """
        self._check_model(recipe)
        self.accept(recipe, method)
        return ProblemRows(self._hooks, self.splits, self._units, self.structure, recipe, method, seed)
