"""The training of one model, step by step. It can stop after any step and go on in another process."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch

from mtlbench.contract.entries import Scores
from mtlbench.contract.method import Method
from mtlbench.contract.method_output import tell_after
from mtlbench.contract.observation import Vector
from mtlbench.engine.cost import PeakMemory
from mtlbench.engine.processes import Processes
from mtlbench.engine.step import NotFinite
from mtlbench.errors import CellError, OutOfMemory, UsageError, is_out_of_memory
from mtlbench.plan.cells import Workload
from mtlbench.problem.interface import Labels, Outputs, Session
from mtlbench.records.history_form import HistoryRow
from mtlbench.training.history_rows import step_row
from mtlbench.training.optimizer import make_optimizer
from mtlbench.training.result import ModelResult
from mtlbench.training.step_effect import Effect, Probe, is_probed


class ModelTraining:
    """One model on some tasks: model, engine, optimizer, schedule, and the results so far.

    Batches and dropout masks depend only on seed and step, and frozen parameters only on the model's files, so the
    state contains neither.

    :param workload: the recipe, and the problem with its rows.
    :param method: the method that weighs the task gradients.
    :param session: the new model, its batches, its engine and its evaluation.
    :param processes: the processes that train it together.
    """

    def __init__(self, workload: Workload, method: Method, session: Session, processes: Processes) -> None:
        recipe = workload.recipe
        self._recipe, self._steps, self._device = recipe, workload.steps, recipe.device
        self._method, self._session, self._processes = method, session, processes
        self._optimizer, self._schedule = make_optimizer(
            session.shared, session.heads, recipe, workload.steps, method.base_lr or recipe.lr
        )
        parts = range(1, recipe.evaluations + 1)
        self._evaluate_after = {round(self._steps * part / recipe.evaluations) for part in parts} - {0}
        self._memory = PeakMemory(recipe.device)
        self._peak: int | None = None
        self._done, self._elapsed, self._seconds = 0, 0.0, list[float]()
        self._history: list[HistoryRow] = []
        self._scores: dict[str, Scores] = {}
        self._outputs: dict[str, Outputs] = {}
        self._labels: dict[str, Labels] = {}

    def run(self) -> Iterator[int]:
        """Train to the end; yield the number of steps done after each step.

        :raises CellError: when a loss or gradient stops being finite, or memory is short; it names step and task.
        """
        first = self._done
        for step in range(first, self._steps):
            self._step(step, warm=step > first)
            if step + 1 in self._evaluate_after:
                self._evaluate(step + 1)
            self._done = step + 1
            yield self._done

    @property
    def result(self) -> ModelResult:
        """The results so far."""
        return ModelResult(
            list(self._history),
            dict(self._scores),
            dict(self._outputs),
            dict(self._labels),
            self._session.pairing,
            self._session.size,
            self._session.engine,
            list(self._seconds),
            self._peak,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next step and the result depend on, except the method and the history.

        Tensors are the model's and the optimizer's own, not copies.
        """
        scale = self._session.scale
        return {
            "model": self._trained(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "scale": None if scale is None else scale.state_dict(),
            "done": self._done,
            "elapsed": self._elapsed,
            "seconds": self._seconds,
            "peak_memory_bytes": self._peak,
            "scores": self._scores,
            "outputs": self._outputs,
            "labels": self._labels,
        }

    def load_state_dict(self, state: dict[str, Any], history: Sequence[HistoryRow]) -> None:
        """Go on from a state that :meth:`state_dict` returned: the same bits as without a stop.

        :param history: the rows of that time.
        """
        for name, tensor in self._trained().items():
            tensor.copy_(state["model"][name])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        if self._session.scale is not None:
            self._session.scale.load_state_dict(state["scale"])
        self._done, self._elapsed = state["done"], state["elapsed"]
        self._seconds, self._peak = state["seconds"], state["peak_memory_bytes"]
        self._scores, self._outputs, self._labels = state["scores"], state["outputs"], state["labels"]
        self._history = list(history)
        self._memory = PeakMemory(self._device)  # reading the state took memory that training does not

    def _trained(self) -> dict[str, torch.Tensor]:
        """Return the trained parameters and all buffers, by name."""
        parameters = self._session.model.named_parameters()
        trained = [(name, value.detach()) for name, value in parameters if value.requires_grad]
        return {**dict(trained), **dict(self._session.model.named_buffers())}

    def _step(self, step: int, *, warm: bool) -> None:
        """Take one step and add its row.

        :param warm: whether the step's time counts; the first step of a process includes warming up.
        """
        measure = (step + 1) % self._recipe.measure_every == 0
        if measure:
            self._read_peak()  # before the first measurement: its buffer is not part of every method's cost
        probe = None
        if is_probed(step + 1, self._steps, self._recipe.measure_every) and self._session.shared:
            probe = Probe(self._session.shared, [*self._session.shared, *self._session.heads])
        begun = time.perf_counter()
        try:
            result = self._session.step(self._method, step, measure=measure)
            if not result.skipped:
                if step < self._recipe.head_steps:
                    for shared in self._session.shared:
                        shared.grad = None  # the optimizer then skips it, decay and averages included
                self._optimizer.step()
                self._schedule.step()
                if self._method.reads_after:
                    tell_after(self._method, self._session.losses_after(step))
            if measure or not warm:  # also in the first step after a checkpoint was loaded
                self._processes.agree([*self._session.model.parameters()], "the parameters")
            if step + 1 < self._steps:
                self._session.ahead(step + 1)
        except NotFinite as error:
            task = None if error.task is None else self._session.tasks[error.task]
            raise CellError(f"step {step + 1}: {error.about(task)}", step + 1, task) from None
        except UsageError as error:  # from the method, which knows the number of tasks, not their names
            names = ", ".join(self._session.tasks)
            raise CellError(f"step {step + 1}: {error} (tasks, in this order: {names})", step + 1) from None
        except CellError as error:
            raise CellError(f"step {step + 1}: {error}", step + 1, error.task) from error.__cause__
        except (MemoryError, RuntimeError) as error:
            raise _as_memory(error, f"step {step + 1}", step + 1) from None
        if self._device != "cpu":
            torch.cuda.synchronize(self._device)
        spent = time.perf_counter() - begun
        self._elapsed += spent
        if warm and not measure:
            self._seconds.append(spent)
        keys = list(self._session.tasks)
        row = step_row(step + 1, result, keys, self._session.factors(step), spent, measure)
        if probe is not None and not result.skipped:
            row = {**row, **self._read(probe, keys, step)}
        self._history.append(row)

    def _read(self, probe: Probe, keys: list[str], step: int) -> Effect:
        def losses(step: int) -> Vector:
            return self._session.losses_after(step) / self._session.factors(step)

        following = partial(losses, step + 1) if step + 1 < self._steps else None
        try:
            return probe.read(partial(losses, step), following, keys)
        except NotFinite:  # if it is more than a bad half-way point, the next step reports it
            return {}
        except (MemoryError, RuntimeError) as error:
            raise _as_memory(error, f"step {step + 1}", step + 1) from None

    def _evaluate(self, step: int) -> None:
        """Score every task and add the row; the test split is scored after the last step alone."""
        self._read_peak()
        splits = [split for split in self._session.splits if split == "dev" or step == self._steps]
        try:
            for split in splits:
                scores, outputs, labels = self._session.evaluate(split, step)
                self._scores[split], self._outputs[split], self._labels[split] = scores, outputs, labels
        except (MemoryError, RuntimeError) as error:
            raise _as_memory(error, f"evaluation after step {step}", step) from None
        self._history.append({"step": step, "scores": self._scores["dev"], "elapsed": self._elapsed})

    def _read_peak(self) -> None:
        if self._peak is None:
            self._peak = self._memory.read()


def _as_memory(error: MemoryError | RuntimeError, where: str, step: int) -> Exception:
    """Return the error to raise: for lack of memory, one with advice; else the error itself."""
    if is_out_of_memory(error):
        reason = str(error).strip().split("\n", 1)[0][:160] or type(error).__name__
        advice = "try engine=lean, --accumulate, or a smaller --batch-size"
        return OutOfMemory(f"{where}: out of memory ({reason}): {advice}", step)
    return error
