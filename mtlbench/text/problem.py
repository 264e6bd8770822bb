"""The text problem: tasks on texts, and one encoder for all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mtlbench import seeds
from mtlbench.contract.entries import EncoderEntry, TaskEntry
from mtlbench.contract.method import Method
from mtlbench.contract.task import Rows, Splits, Task
from mtlbench.errors import UsageError
from mtlbench.plugins.fingerprint import source_fingerprint
from mtlbench.plugins.registry import Registry
from mtlbench.recipe.suite import Recipe
from mtlbench.text.description import describe_tasks
from mtlbench.text.encoder import Encoder, EncoderFiles
from mtlbench.text.model_config import PACKED_SINCE
from mtlbench.text.model_trial import Traits, check_recipe, try_model
from mtlbench.text.splits import carve
from mtlbench.text.task_form import check_training, checked_key, load_splits

if TYPE_CHECKING:
    from mtlbench.text.cell_rows import TextRows

PROTOCOL = 4
"""Version of the training arithmetic of the text problem: batches, model, loop, and defaults outside of the recipe.

It is part of every key and is raised by one when the arithmetic changes, so that older cells no longer count as done:
the code outside of a method's file is in no fingerprint. Another problem has a number of its own, so that a change to
one leaves the cells of the others done. For one suite, raise :attr:`mtlbench.recipe.suite.Recipe.version` instead.
"""

MODULES = ("transformers.models.bert.modeling_bert",)
"""Modules that are slow to import, and that every cell needs."""


@dataclass(frozen=True)
class TextProblem:
    """Tasks with their rows, and the files of an encoder.

    :param tasks: the tasks, in the order of the heads.
    :param splits: their rows.
    :param draws: for each task, what seeds its batches and dropout masks; the same for tasks that share them.
    :param encoder: which encoder, and how it turns texts into vectors.
    :param files: its files.
    """

    tasks: Sequence[Task]
    splits: Sequence[Splits]
    draws: Sequence[str]
    encoder: Encoder
    files: EncoderFiles

    @classmethod
    def load(cls, recipe: Recipe, registry: Registry, data_dir: Path | None) -> TextProblem:
        """Load the rows and find the encoder.

        :param recipe: as the user wrote it.
        :param registry: source of the tasks.
        :param data_dir: folder of data files.
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
        whole = [load_splits(task, data_dir) for task in tasks]
        draws = shared_draws(keys, whole) if recipe.shared_forward else keys
        splits = tuple(_prepared(split, recipe, key) for split, key in zip(whole, draws, strict=True))
        for task, split in zip(tasks, splits, strict=True):
            check_training(task, split, recipe.batch_size, recipe.device)
        return cls(tasks, splits, draws, encoder, files)

    @property
    def title(self) -> str:
        """The encoder, for people."""
        return self.files.title

    @property
    def rows(self) -> int:
        """The number of training rows of the largest task."""
        return max(len(split.train) for split in self.splits)

    @property
    def libraries(self) -> Sequence[str]:
        """Packages that affect results here and not elsewhere."""
        return self.encoder.libraries

    @property
    def trial(self) -> None:
        """Nothing: the traits of an encoder decide no cell."""

    def recipe(self, recipe: Recipe) -> Recipe:
        """Return the recipe with canonical specs of tasks and encoder.

        :param recipe: as the user wrote it.
        """
        return recipe.model_copy(update={"tasks": tuple(task.spec for task in self.tasks), "model": self.encoder.spec})

    def identity(self, recipe: Recipe) -> dict[str, Any]:
        """Return what decides results besides method, seed and recipe: the rows, not where they are, and the encoder.

        :param recipe: the canonical recipe.
        """
        packed = {"packed": PACKED_SINCE[self.files.family]} if self.files.family in PACKED_SINCE else {}
        return {
            "protocol": PROTOCOL,
            "tasks": [
                {**task.identity, "data": splits.fingerprint, **_foreign_code(task)}
                for task, splits in zip(self.tasks, self.splits, strict=True)
            ],
            "encoder": {**self.encoder.counted, "origin": self.files.fingerprint, **packed},
        }

    def traits(self, recipe: Recipe) -> Traits:
        """Try the encoder once, or return what an earlier trial showed of it.

        :param recipe: the canonical recipe.
        :raises UsageError: when the encoder does not suit these tasks.
        """
        pairs = any(len(row) > 1 for splits in self.splits for row in splits.train.texts[:1])
        return try_model(self.encoder, self.files, recipe.max_length, pairs=pairs)

    def check(self, recipe: Recipe) -> None:
        """Try the encoder once, before a grid begins.

        :param recipe: the canonical recipe.
        :raises UsageError: when the encoder does not suit these tasks or this recipe.
        """
        check_recipe(recipe, self.traits(recipe))

    def accept(self, recipe: Recipe, method: Method) -> None:
        """Accept every method: a model of texts has all that methods may read."""

    def notes(self, recipe: Recipe) -> list[str]:
        """Return warnings to print before a grid begins.

        :param recipe: the canonical recipe.
        """
        tuned = [
            f"the model was tuned on {task.corpus}: {task.key} scores are not comparable to those of other models"
            for task in self.tasks
            if task.corpus in self.files.tuned_on
        ]
        pooled = ["a text's vector is the state of its last token (pooling=last)"] * (self.encoder.pooling == "last")
        longest = self.files.longest
        lowered = f"max_length {recipe.max_length} lowered to {longest}: the model has no more positions"
        return [*tuned, *pooled, *([lowered] if recipe.max_length > longest else [])]

    def describe(self) -> dict[str, TaskEntry]:
        """Return each task's rows, source, trivial floors and oddities, by its key."""
        return self._description

    @cached_property
    def _description(self) -> dict[str, TaskEntry]:
        return describe_tasks(self.tasks, self.splits)

    def entry(self) -> EncoderEntry:
        """Return the encoder, as records have it."""
        return {
            "spec": self.encoder.spec,
            "name": self.files.title,
            "fingerprint": self.files.fingerprint,
            "tuned_on": list(self.files.tuned_on),
        }

    def alone(self, task: int, rows: int) -> TextProblem:
        """Return one task with one batch of its rows, to train on and to score.

        :param task: the task's position.
        :param rows: the most rows; fewer where there are not as many distinct texts.
        """
        chosen = one_batch(self.splits[task].train, rows, self.tasks[task].key)
        splits = Splits(chosen, chosen, self.splits[task].source)
        return replace(self, tasks=(self.tasks[task],), splits=(splits,), draws=(self.tasks[task].key,))

    def prepare(self, recipe: Recipe, method: Method, seed: int) -> TextRows:
        """Tokenise the rows and schedule the batches of one cell.

        :param recipe: the canonical recipe, with steps.
        :param method: it says how many independent batches a step has, and whether tasks train jointly.
        :param seed: of initial weights, batches and dropout masks.
        """
        from mtlbench.text.cell_rows import TextRows

        return TextRows(self.tasks, self.splits, self.draws, self.encoder, self.files, recipe, method, seed)


def shared_draws(keys: Sequence[str], splits: Sequence[Splits]) -> list[str]:
    """Return what seeds each task's batches: a name of the training texts where other tasks have the same ones.

    :param keys: the tasks' keys.
    :param splits: their rows.
    :raises UsageError: when no two tasks have the same training texts.
    """
    texts = [
        hashlib.sha256(repr(list(split.train.texts)).encode("utf-8", "surrogatepass")).hexdigest() for split in splits
    ]
    if len(set(texts)) == len(texts):
        raise UsageError(
            f"shared_forward: no two of the tasks {', '.join(keys)} have the same training texts in the same order"
        )
    return [f"texts {text}" if texts.count(text) > 1 else key for key, text in zip(keys, texts, strict=True)]


def one_batch(rows: Rows, size: int, task: str) -> Rows:
    """Choose the rows of a batch: the same rows every time, no text twice, and more than one label if possible.

    A text with two labels cannot be learned, and a batch with one label cannot show whether the model reads the texts.

    :param rows: rows to choose from.
    :param size: number of rows; fewer if there are not as many distinct texts.
    :param task: key of the task, which seeds the choice.
    """
    order = seeds.generator("overfit", task).permutation(len(rows))
    distinct = list({rows.texts[n]: n for n in reversed(order.tolist())}.values())[::-1]  # first row of each text
    chosen = distinct[:size]
    other = (n for n in distinct[size:] if np.any(rows.labels[n] != rows.labels[chosen[0]]))
    if np.all(rows.labels[chosen] == rows.labels[chosen[0]]) and (swapped := next(other, None)) is not None:
        chosen[-1] = swapped
    return rows.picked(np.array(chosen))


def _foreign_code(task: Task) -> dict[str, str]:
    """Return the hash of a user's task code: an edited loss is another task. :data:`PROTOCOL` covers ours."""
    return {} if type(task).__module__.startswith("mtlbench.") else {"source": source_fingerprint(type(task))}


def _prepared(splits: Splits, recipe: Recipe, task: str) -> Splits:
    """Carve off the recipe's test rows, and limit the development rows."""
    if recipe.test_rows is not None:
        splits = carve(splits, recipe.test_rows, task)
    return replace(splits, dev=splits.dev.sample(recipe.dev_limit, "development rows", task))
