"""One cell → its outcome: trains one shared model, or one model per task for the single-task baseline."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from mtlbench.contract.method import Method
from mtlbench.engine.cost import summarize_cost
from mtlbench.engine.processes import ALONE, Processes
from mtlbench.plan.cells import Workload
from mtlbench.text.batches import TaskData
from mtlbench.text.sampling import batch_sizes
from mtlbench.text.tokens import Tokenizer
from mtlbench.training.history_rows import merged
from mtlbench.training.model_training import ModelTraining
from mtlbench.training.outcome import Outcome

__all__ = ["Listener", "Outcome", "Training", "train"]

Listener = Callable[[int, int], None]
"""Called after every optimizer step with the steps done and the steps in all."""


class Training:
    """The training of a cell. Between two steps its state can be taken, and given to another process.

    :param outcome: filled as training goes: what a failed cell got to is kept.
    :param processes: those that train this cell together; each calls this, and each gets the same outcome.
    """

    def __init__(
        self, workload: Workload, method: Method, seed: int, outcome: Outcome, processes: Processes = ALONE
    ) -> None:
        recipe = workload.recipe
        tokenizer = Tokenizer(workload.encoder, workload.files, recipe.max_length)
        rows = [len(splits.train) for splits in workload.splits]
        sizes = batch_sizes(
            recipe.sampling, rows, batch_size=recipe.batch_size, steps=workload.steps, parts=recipe.parts
        )
        data = [
            TaskData.prepare(
                task,
                splits,
                tokenizer,
                seed=seed,
                sizes=taken,
                weights=taken / recipe.batch_size if method.joint else None,  # alone, a task has nothing to outweigh
                batches=method.batches,
                device=recipe.device,
            )
            for task, splits, taken in zip(workload.tasks, workload.splits, sizes.T, strict=True)
        ]
        outcome.seen = {one.task.key: int(one.sizes.sum()) for one in data}
        outcome.cut = {
            one.task.key: {"tokens": tokenizer.max_length, "train": one.train_tokens.cut}
            | {name: some.tokens.cut for name, some in one.evaluated.items()}
            for one in data
        }
        method.reseed(seed)
        self._workload, self._method, self._seed = workload, method, seed
        self._outcome, self._processes = outcome, processes
        self._groups = [data] if method.joint else [[one] for one in data]
        self._costs: list[dict[str, Any]] = []
        self._current: ModelTraining | None = None
        self.done = 0
        """Optimizer steps done, of all models."""
        self.total = len(self._groups) * workload.steps
        """Optimizer steps in all."""

    def run(self) -> Iterator[int]:
        """Train to the end, from where a loaded state is if one is; yields the steps done, of all models, after each.

        :raises CellError: when a loss or gradient stops being finite, or memory is short; it names step and task.
        """
        while len(self._costs) < len(self._groups):
            before = len(self._costs) * self._workload.steps
            current = self._current or self._begun()
            for done in current.run():
                self.done = before + done
                yield self.done
            self._costs.append(current.cost)
            del current
            self._current = None  # its memory is for the next one
        outcome = self._outcome
        outcome.cost = summarize_cost(self._costs)
        if not self._method.joint:
            outcome.history = merged(outcome.history)
        found = [value for row in outcome.history for value in row.get("cosines", {}).values() if value is not None]
        if found:
            outcome.conflict = {"share": float(np.mean(np.array(found) < 0.0)), "mean_cosine": float(np.mean(found))}

    def state_dict(self) -> dict[str, Any]:
        """Return, after a step, all that the next one and the outcome depend on; tensors are those in use."""
        assert self._current is not None
        return {
            "done": self.done,
            "costs": self._costs,
            "current": self._current.state_dict(),
            "method": self._method.state_dict(),
            "outcome": self._outcome.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state that :meth:`state_dict` returned, with the same workload, method and seed."""
        self.done, self._costs = state["done"], state["costs"]
        self._begun().load_state_dict(state["current"])
        self._method.load_state_dict(state["method"])
        self._outcome.load_state_dict(state["outcome"])

    def _begun(self) -> ModelTraining:
        """Make the next model's training."""
        group = self._groups[len(self._costs)]
        self._current = ModelTraining(self._workload, self._method, self._seed, group, self._outcome, self._processes)
        return self._current


def train(
    workload: Workload,
    method: Method,
    seed: int,
    outcome: Outcome,
    listener: Listener,
    processes: Processes = ALONE,
) -> None:
    """Train a method on a workload, without stops; see :class:`Training`."""
    training = Training(workload, method, seed, outcome, processes)
    for done in training.run():
        listener(done, training.total)
