"""Cells: frozen values, each with a key made of everything that decides its result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mtlbench.contract.method import Method
from mtlbench.contract.task import Splits, Task
from mtlbench.errors import UsageError
from mtlbench.plan.conditions import check_methods, check_recipe
from mtlbench.plan.suite import Recipe
from mtlbench.plugins.fingerprint import source_fingerprint
from mtlbench.plugins.registry import Registry
from mtlbench.text.encoder import Encoder, EncoderFiles
from mtlbench.text.model_trial import Traits, try_model
from mtlbench.text.splits import carve
from mtlbench.text.task_form import check_training, checked_key, load_splits

PROTOCOL = 4
"""Version of the training arithmetic of the text problem: batches, model, loop, and defaults outside of the recipe.

It is part of every key and is raised by one when the arithmetic changes, so that older cells no longer count as done:
the code outside of a method's file is in no fingerprint. Another problem gets a number of its own, so that a change to
one leaves the cells of the others done. For one suite, raise :attr:`mtlbench.plan.suite.Recipe.version` instead.
"""
SEEDS_END = 2**63
"""The first number that is too large for a seed."""
MOST_SEEDS = 10_000
"""Most seeds of a grid."""
CHECKPOINT_EVERY = 300.0
"""Default time between two checkpoints of a cell, in seconds."""


@dataclass(frozen=True)
class Workload:
    """Common to all cells of a grid: recipe, tasks with their rows, encoder files."""

    suite: str
    recipe: Recipe
    data_dir: Path | None
    plugin_files: tuple[str, ...]
    tasks: tuple[Task, ...]
    splits: tuple[Splits, ...]
    encoder: Encoder
    files: EncoderFiles

    @classmethod
    def load(
        cls,
        suite: str,
        recipe: Recipe,
        registry: Registry,
        *,
        data_dir: Path | None = None,
        plugin_files: tuple[str, ...] = (),
    ) -> Workload:
        """Load the rows, find the encoder, and convert epochs to steps.

        :param suite: name of the suite.
        :param registry: source of the tasks.
        :param data_dir: folder of data files.
        :param plugin_files: files that the registry was loaded with.
        :raises UsageError: when a task, its data or the encoder is missing or not usable.
        """
        tasks = tuple(registry.task(spec) for spec in recipe.tasks)
        keys = [checked_key(task) for task in tasks]
        for key in keys:
            if keys.count(key) > 1:
                raise UsageError(f"task {key} is named twice; each task of a suite needs a name of its own")
        encoder = Encoder.parse(recipe.model)
        files = encoder.locate()
        encoder = encoder.settled(files)
        splits = tuple(_prepared(load_splits(task, data_dir), recipe, task.key) for task in tasks)
        for task, split in zip(tasks, splits, strict=True):
            check_training(task, split, recipe.batch_size, recipe.device)
        # canonical specs: two spellings of the same recipe give the same key
        recipe = recipe.model_copy(update={"tasks": tuple(task.spec for task in tasks), "model": encoder.spec})
        if recipe.epochs is not None:
            largest = max(len(split.train) for split in splits)
            steps = recipe.epochs * -(-largest // recipe.batch_size)
            recipe = recipe.model_copy(update={"steps": steps, "epochs": None})
        return cls(suite, recipe, data_dir, plugin_files, tasks, splits, encoder, files)

    @property
    def steps(self) -> int:
        """Optimizer steps per cell."""
        assert self.recipe.steps is not None  # load() turned epochs into steps
        return self.recipe.steps

    def try_model(self) -> Traits:
        """Try the model once, before a grid begins.

        :returns: what the trial showed of the model.
        :raises UsageError: when the model does not suit these tasks or this recipe.
        """
        pairs = any(len(row) > 1 for splits in self.splits for row in splits.train.texts[:1])
        traits = try_model(self.encoder, self.files, self.recipe.max_length, pairs=pairs)
        check_recipe(self.recipe, traits)
        return traits

    def identity(self) -> dict[str, Any]:
        """Return everything that decides the results of all cells of this grid, as plain data.

        Values equal to their defaults are left out, so that a recipe field added later leaves older cells done.
        """
        # that the device is a GPU counts, not which GPU; the rows count, not where they are
        device, tasks = self.recipe.device.partition(":")[0], tuple(task.counted_spec for task in self.tasks)
        recipe = self.recipe.model_copy(update={"device": device, "tasks": tasks})
        return {
            "protocol": PROTOCOL,
            "recipe": recipe.model_dump(mode="json", exclude_defaults=True, exclude={"model"}),
            "tasks": [
                {**task.identity, "data": splits.fingerprint, **_foreign_code(task)}
                for task, splits in zip(self.tasks, self.splits, strict=True)
            ],
            "encoder": {**self.encoder.counted, "origin": self.files.fingerprint},
        }


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

    @property
    def title(self) -> str:
        """Method and seed, for display."""
        return f"{self.method} seed {self.seed}"


def make_cells(workload: Workload, methods: Sequence[Method], seeds: Sequence[int]) -> list[Cell]:
    """Return the grid methods × seeds, seed by seed, so that an interrupted grid has complete comparisons.

    :raises UsageError: when a method is not defined for the tasks.
    """
    check_methods(methods, len(workload.tasks))
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
        )
        for seed in seeds
        for method in methods
    ]


def _foreign_code(task: Task) -> dict[str, str]:
    """Return the hash of a user's task code: an edited loss is another task. :data:`PROTOCOL` covers ours."""
    return {} if type(task).__module__.startswith("mtlbench.") else {"source": source_fingerprint(type(task))}


def _prepared(splits: Splits, recipe: Recipe, task: str) -> Splits:
    """Carve off the recipe's test rows, and limit the development rows."""
    if recipe.test_rows is not None:
        splits = carve(splits, recipe.test_rows, task)
    return replace(splits, dev=splits.dev.sample(recipe.dev_limit, "development rows", task))


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
