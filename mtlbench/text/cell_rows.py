"""The rows of one cell: tokens, and the batches of every step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mtlbench.contract.method import Method
from mtlbench.engine.processes import Processes
from mtlbench.problem.sampling import batch_sizes
from mtlbench.recipe.suite import Recipe
from mtlbench.text.batches import TaskData
from mtlbench.text.session import TextSession
from mtlbench.text.tokens import Tokenizer

if TYPE_CHECKING:
    from mtlbench.text.problem import TextProblem


class TextRows:
    """The rows of one cell.

    :param problem: tasks, rows and encoder.
    :param recipe: the canonical recipe, with steps.
    :param method: it says how many independent batches a step has, and whether tasks train jointly.
    :param seed: of initial weights, batches and dropout masks.
    """

    def __init__(self, problem: TextProblem, recipe: Recipe, method: Method, seed: int) -> None:
        assert recipe.steps is not None  # epochs were turned into steps
        tokenizer = Tokenizer(problem.encoder, problem.files, recipe.max_length)
        rows = [len(splits.train) for splits in problem.splits]
        sizes = batch_sizes(recipe.sampling, rows, batch_size=recipe.batch_size, steps=recipe.steps, parts=recipe.parts)
        self._problem, self._recipe, self._seed = problem, recipe, seed
        self.data = [
            TaskData.prepare(
                task,
                splits,
                tokenizer,
                seed=seed,
                sizes=rows_per_step,
                weights=rows_per_step / recipe.batch_size if method.joint else None,  # a task alone needs no weight
                batches=method.batches,
                device=recipe.device,
            )
            for task, splits, rows_per_step in zip(problem.tasks, problem.splits, sizes.T, strict=True)
        ]
        self.seen = {task_data.task.key: int(task_data.sizes.sum()) for task_data in self.data}
        self.cut = {
            task_data.task.key: {"tokens": tokenizer.max_length, "train": task_data.train_tokens.cut}
            | {name: split.tokens.cut for name, split in task_data.evaluated.items()}
            for task_data in self.data
        }

    def session(self, tasks: Sequence[int], processes: Processes) -> TextSession:
        """Return a new model, ready for its first step.

        :param tasks: positions of the tasks that it trains on.
        :param processes: the processes that train it together.
        """
        problem, data = self._problem, [self.data[task] for task in tasks]
        return TextSession(problem.encoder, problem.files, self._recipe, self._seed, data, processes)
