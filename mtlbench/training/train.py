"""The training of a cell: one shared model, or one model per task for the single-task baseline."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from mtlbench.contract.method import Method
from mtlbench.engine.processes import ALONE, Processes
from mtlbench.plan.cells import Workload
from mtlbench.training.model_training import ModelTraining
from mtlbench.training.result import CellResult, ModelResult

Listener = Callable[[int, int], None]
"""Called after every optimizer step with the number of steps done and the total."""


class Training:
    """The training of a cell. Between two steps its state can be saved, and loaded in another process.

    :param workload: the recipe, and the problem with its rows.
    :param method: is reseeded here.
    :param seed: of initial weights, batches and dropout masks.
    :param processes: the processes that train this cell together; each makes its own object, with the same result.
    """

    def __init__(self, workload: Workload, method: Method, seed: int, processes: Processes = ALONE) -> None:
        self._rows = workload.problem.prepare(workload.recipe, method, seed)
        method.reseed(seed)
        self._workload, self._method, self._processes = workload, method, processes
        tasks = range(len(workload.tasks))
        self._groups = [list(tasks)] if method.joint else [[task] for task in tasks]
        self._finished: list[ModelResult] = []
        self._current: ModelTraining | None = None
        self.done = 0
        """Optimizer steps done, of all models."""
        self.total = len(self._groups) * workload.steps
        """Optimizer steps in all."""

    def run(self) -> Iterator[int]:
        """Train to the end, from the beginning or from a loaded state.

        :returns: the optimizer steps done, of all models, after each step.
        :raises CellError: when a loss or gradient stops being finite, or memory is short; it names step and task.
        """
        while len(self._finished) < len(self._groups):
            before = len(self._finished) * self._workload.steps
            current = self._current or self._begin()
            for done in current.run():
                self.done = before + done
                yield self.done
            self._finished.append(current.result)
            del current
            self._current = None  # its memory is for the next one

    def result(self) -> CellResult:
        """Return what training has led to so far, also after it failed."""
        return CellResult.of(
            self._models(),
            joint=self._method.joint,
            complete=len(self._finished) == len(self._groups),
            seen=dict(self._rows.seen),
            cut={task: dict(sizes) for task, sizes in self._rows.cut.items()},
        )

    def state_dict(self) -> dict[str, Any]:
        """Return, after a step, everything that the next step and the result depend on; tensors are those in use.

        ``histories`` are the rows of each model so far, as JSON: as text, a history that grows stays one value.
        """
        assert self._current is not None
        return {
            "done": self.done,
            "finished": [model.state_dict() for model in self._finished],
            "current": self._current.state_dict(),
            "method": self._method.state_dict(),
            "histories": [json.dumps(model.history).encode() for model in self._models()],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state that :meth:`state_dict` returned, with the same workload, method and seed.

        :param state: as returned.
        """
        *before, rows = [json.loads(history) for history in state["histories"]]
        self.done = state["done"]
        self._finished = [
            ModelResult(history, **model) for history, model in zip(before, state["finished"], strict=True)
        ]
        self._begin().load_state_dict(state["current"], rows)
        self._method.load_state_dict(state["method"])

    def _models(self) -> list[ModelResult]:
        """Return the results of the models that were begun."""
        return [*self._finished, *([self._current.result] if self._current else [])]

    def _begin(self) -> ModelTraining:
        """Make the next model ready to train."""
        session = self._rows.session(self._groups[len(self._finished)], self._processes)
        self._current = ModelTraining(self._workload, self._method, session, self._processes)
        return self._current


def train(
    workload: Workload,
    method: Method,
    seed: int,
    listener: Listener = lambda done, total: None,
    processes: Processes = ALONE,
) -> CellResult:
    """Train a method on a workload, without stops; see :class:`Training`.

    :param listener: is called after every step.
    :returns: the complete result.
    :raises CellError: as :meth:`Training.run`; a :class:`Training` of your own keeps the result up to there.
    """
    training = Training(workload, method, seed, processes)
    for done in training.run():
        listener(done, training.total)
    return training.result()
