"""The rows of one cell: tokens, and the batches of every step."""

from __future__ import annotations

from collections.abc import Sequence

from mtlbench.contract.method import Method
from mtlbench.contract.task import Splits, Task
from mtlbench.engine.processes import Processes
from mtlbench.problem.sampling import batch_sizes
from mtlbench.recipe.suite import Recipe
from mtlbench.text.batches import TaskData
from mtlbench.text.encoder import Encoder, EncoderFiles
from mtlbench.text.session import TextSession
from mtlbench.text.tokens import Tokenizer


class TextRows:
    """The rows of one cell.

    :param tasks: the tasks, in the order of the heads.
    :param splits: their rows.
    :param draws: for each task, what seeds its batches and dropout masks; the same for tasks that share them.
    :param encoder: which encoder, and how it turns texts into vectors.
    :param files: its files.
    :param recipe: the canonical recipe, with steps.
    :param method: it says how many independent batches a step has, and whether tasks train jointly.
    :param seed: of initial weights, batches and dropout masks.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        splits: Sequence[Splits],
        draws: Sequence[str],
        encoder: Encoder,
        files: EncoderFiles,
        recipe: Recipe,
        method: Method,
        seed: int,
    ) -> None:
        assert recipe.steps is not None  # epochs were turned into steps
        tokenizer = Tokenizer(encoder, files, recipe.max_length)
        rows = [len(part.train) for part in splits]
        sizes = batch_sizes(recipe.sampling, rows, batch_size=recipe.batch_size, steps=recipe.steps, parts=recipe.parts)
        self._encoder, self._files, self._recipe, self._seed = encoder, files, recipe, seed
        self.data = [
            TaskData.prepare(
                task,
                part,
                tokenizer,
                seed=seed,
                sizes=rows_per_step,
                weights=rows_per_step / recipe.batch_size if method.joint else None,  # a task alone needs no weight
                batches=method.batches,
                device=recipe.device,
                draws=key,
            )
            for task, part, key, rows_per_step in zip(tasks, splits, draws, sizes.T, strict=True)
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
        data = [self.data[task] for task in tasks]
        return TextSession(self._encoder, self._files, self._recipe, self._seed, data, processes)
