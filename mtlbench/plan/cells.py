"""Cells: frozen values, each with a key made of everything that decides its result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mtlbench.contract.method import Method
from mtlbench.errors import UsageError
from mtlbench.plan.conditions import check_methods
from mtlbench.plugins.fingerprint import source_fingerprint
from mtlbench.plugins.registry import Registry
from mtlbench.problem.interface import Loaded, Scored
from mtlbench.problem.loaded import LoadedProblem
from mtlbench.recipe.suite import Recipe
from mtlbench.text.problem import MODULES, TextProblem

SEEDS_END = 2**63
"""The first number that is too large for a seed."""
MOST_SEEDS = 10_000
"""Most seeds of a grid."""
CHECKPOINT_EVERY = 300.0
"""Default time between two checkpoints of a cell, in seconds."""


@dataclass(frozen=True)
class Workload:
    """Common to all cells of a grid: the recipe, and the problem with its rows."""

    suite: str
    recipe: Recipe
    data_dir: Path | None
    plugin_files: tuple[str, ...]
    problem: Loaded

    @classmethod
    def load(
        cls,
        suite: str,
        recipe: Recipe,
        registry: Registry,
        *,
        data_dir: Path | None = None,
        plugin_files: tuple[str, ...] = (),
        trial: Any = None,
    ) -> Workload:
        """Load the problem's rows, and convert epochs to steps.

        :param suite: name of the suite.
        :param registry: source of tasks and problems.
        :param data_dir: folder of data files.
        :param plugin_files: files that the registry was loaded with.
        :param trial: what the planner's trial of the model has shown, see :attr:`Cell.trial`.
        :raises UsageError: when a task, its data or the model is missing or not usable.
        """
        problem: Loaded
        if recipe.problem is None:
            problem = TextProblem.load(recipe, registry, data_dir)
        else:
            problem = LoadedProblem(registry.problem(recipe.problem), recipe, data_dir, trial)
        recipe = problem.recipe(recipe)  # canonical specs: two spellings of the same recipe give the same key
        if recipe.epochs is not None:
            steps = recipe.epochs * -(-problem.rows // recipe.batch_size)
            recipe = recipe.model_copy(update={"steps": steps, "epochs": None})
        return cls(suite, recipe, data_dir, plugin_files, problem)

    @property
    def tasks(self) -> Sequence[Scored]:
        """The tasks, in the order of the heads."""
        return self.problem.tasks

    @property
    def steps(self) -> int:
        """Optimizer steps per cell."""
        assert self.recipe.steps is not None  # load() turned epochs into steps
        return self.recipe.steps

    def identity(self) -> dict[str, Any]:
        """Return everything that decides the results of all cells of this grid, as plain data."""
        recipe = self.recipe.model_copy(update={"tasks": tuple(task.counted_spec for task in self.tasks)})
        return {"recipe": recipe.identity, **self.problem.identity(self.recipe)}


@dataclass(frozen=True)
class Cell:
    """One training run: a method with its parameters and a seed, on a workload.

    :param method: the method's spec.
    :param suite: name of the suite.
    :param group: hash of everything that decides the result except method and seed.
    :param key: hash of everything that decides the result.
    :param data_dir: folder of data files.
    :param plugin_files: plugin files that the cell needs.
    :param checkpoint_every: seconds between two checkpoints, 0 for none. It changes no result, so it is not in the key.
    :param trial: what trying the model has shown, see :attr:`mtlbench.problem.interface.Loaded.trial`.
    """

    method: str
    seed: int
    suite: str
    recipe: Recipe
    group: str
    key: str
    data_dir: Path | None = field(default=None, compare=False)
    plugin_files: tuple[str, ...] = field(default=(), compare=False)
    checkpoint_every: float = field(default=CHECKPOINT_EVERY, compare=False)
    trial: Any = field(default=None, compare=False, repr=False)

    @property
    def title(self) -> str:
        """Method and seed, for display."""
        return f"{self.method} seed {self.seed}"


def make_cells(workload: Workload, methods: Sequence[Method], seeds: Sequence[int]) -> list[Cell]:
    """Return the grid methods × seeds, seed by seed, so that an interrupted grid has complete comparisons.

    :raises UsageError: when a method is not defined for the tasks, or needs what the problem does not declare.
    """
    check_methods(methods, len(workload.tasks))
    for method in methods:
        workload.problem.accept(workload.recipe, method)
    identity = workload.identity()
    group = fingerprint(identity)
    return [
        Cell(
            method.spec,
            seed,
            workload.suite,
            workload.recipe,
            group,
            fingerprint(
                {
                    "group": group,
                    "seed": seed,
                    "method": method.name,
                    "parameters": method.parameters,
                    "source": source_fingerprint(type(method)),
                }
            ),
            workload.data_dir,
            workload.plugin_files,
            trial=workload.problem.trial,
        )
        for seed in seeds
        for method in methods
    ]


def modules_of(recipe: Recipe) -> tuple[str, ...]:
    """Return the names of modules that cells of a recipe import, besides those of every cell.

    :param recipe: the recipe.
    """
    return MODULES if recipe.problem is None else ()


def parse_seeds(text: str) -> list[int]:
    """Parse seeds: ``5`` means 0 to 4; ``0,3,7`` or ``7,`` is a list.

    :returns: the seeds, sorted, each once.
    :raises UsageError: when a seed is not a whole number from 0 to 2^63 - 1, or there are none or too many.
    """
    pieces = [piece.strip() for piece in text.split(",") if piece.strip()]
    if not pieces or not all(piece.isascii() and piece.isdigit() for piece in pieces):
        raise UsageError(f"seeds must be a number (5 means 0 to 4) or a list such as 0,3,7, not '{text}'")
    numbers = [int(piece[:40]) for piece in pieces]  # int() refuses thousands of digits; 40 are too many already
    if max(numbers) >= SEEDS_END:
        raise UsageError("seeds must be below 2^63")
    if "," in text:
        return sorted(set(numbers))
    if not 1 <= numbers[0] <= MOST_SEEDS:
        raise UsageError(f"the number of seeds must be 1 to {MOST_SEEDS}, not {numbers[0]}; for seed N alone write N,")
    return list(range(numbers[0]))


def fingerprint(data: Any) -> str:
    """Return the SHA-256 of plain data, as canonical JSON.

    :raises ValueError: when a number is NaN or infinite.
    """
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
