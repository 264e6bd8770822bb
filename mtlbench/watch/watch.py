"""Watch a training loop: a call before ``backward`` that measures, and changes nothing."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch

from mtlbench.contract.method import Method
from mtlbench.errors import UsageError, shown
from mtlbench.records.history_form import HistoryRow
from mtlbench.watch.checks import checked_every, checked_name, checked_score, checked_tasks, present_losses
from mtlbench.watch.gradients import Shared, measure
from mtlbench.watch.log import Log
from mtlbench.watch.proposals import Proposals
from mtlbench.watch.start import Start, check_folder, open_log, process
from mtlbench.watch.steps import StepLosses, last_looks, look_fields


class Watch:
    """Measure the task gradients of your own training every N steps, for ``mtlbench diagnose`` and ``report``.

    Call it with the step's losses before ``backward``. It changes nothing: no ``.grad``, no hook, no random number, no
    graph. Every call keeps the values of the losses; every N steps it computes one gradient per task. docs/watch.md
    says what the doctor can tell from it.

    >>> import mtlbench, tempfile, torch
    >>> shared, folder = torch.nn.Linear(2, 2), tempfile.mkdtemp()
    >>> with mtlbench.Watch(shared, tasks=["a", "b"], folder=folder, every=5, methods=["pcgrad"]) as watch:
    ...     for step in range(10):
    ...         features = shared(torch.ones(4, 2))
    ...         losses = [features[:, 0].mean(), -features[:, 0].mean()]  # their gradients are opposed
    ...         watch(losses)
    ...         sum(losses).backward()
    >>> from mtlbench.records.store import Store
    >>> record = Store(watch.folder).scan().records[0]
    >>> record["watched"]["looks"], record["conflict"]["share"]
    (2, 1.0)

    :param shared: the parameters that the tasks share, or the module that holds them; P is their total size.
    :param tasks: K names, in the order of the losses.
    :param folder: the results folder. It may hold several runs, and cells of ``mtlbench run``.
    :param every: steps from one measurement of a task's gradient to the next. The first step is measured.
    :param methods: specs such as ``"cagrad[c=0.2]"``, or :class:`Method` objects (copies are asked), whose weights are
        computed too.
    :param name: of the run, one of its own for each run in the folder.
    :param resume: go on after the last step of the run of that name, if there is one.
    :raises UsageError: for bad input; when the folder has a run of that name and ``resume`` is false.
    """

    def __init__(
        self,
        shared: Sequence[torch.Tensor] | torch.nn.Module,
        tasks: Sequence[str],
        folder: str | Path,
        *,
        every: int = 20,
        methods: Sequence[str | Method] = (),
        name: str = "training",
        resume: bool = False,
    ) -> None:
        self.tasks, self.every, self.name = checked_tasks(tasks), checked_every(every), checked_name(name)
        self.folder = Path(folder)
        self._shared, self._proposals = Shared(shared), Proposals(methods, len(self.tasks))
        self._resume = resume
        self._log: Log | None = None
        self._state = "new"
        self._pending: dict[int, StepLosses] = {}
        self._last_look: dict[str, int] = {}
        self._counting, self._step, self._before = True, 0, 0.0
        self._begun = time.monotonic()
        if process()[0] == 0:
            check_folder(self.folder, name, self.tasks, resume=resume)

    def __call__(self, losses: Sequence[torch.Tensor | None]) -> None:
        """Take the losses of a step, or of one of its micro-batches, before ``backward``.

        A call in which torch records no graph, as in an evaluation, is passed over.

        :param losses: K scalar losses as they enter the sum, each with its graph; ``None`` where the batch has no rows
            of a task.
        :raises UsageError: when there are not K losses, one is not a scalar or has no graph, the graphs are freed, or
            the watch is closed.
        """
        if not torch.is_grad_enabled() or not self._active():
            return
        present = present_losses(losses, self.tasks)
        if self._counting:
            self._step += 1
        entry = self._pending.setdefault(self._step, StepLosses())
        entry.add(present)
        due = any(self._step - self._last_look.get(task, -self.every) >= self.every for task in present)
        if due:
            self._look(present, entry)
        if due and self._counting:
            self._write()

    def begin(self, step: int) -> None:
        """Say to which optimizer step the next calls belong; without it every call is a step.

        For gradient accumulation, where a step has several calls, and for training that goes on from a checkpoint.

        :param step: the optimizer step, from 1.
        :raises UsageError: when it is not above 0, or lies before a step of this training.
        """
        if not isinstance(step, int) or step < 1:
            raise UsageError(f"steps are whole numbers from 1 on, not {shown(step)}")
        if not self._active():
            return
        if self._state == "resumed" and step <= self._step:
            assert self._log is not None
            self._log.forget(step)
            self._last_look = last_looks(self._log.read().rows)
        elif step < self._step:
            raise UsageError(f"step {step} comes after step {self._step}: give another training a Watch of its own")
        self._state = "open"
        if step != self._step and any(entry.look for entry in self._pending.values()):
            self._write()
        self._counting, self._step = False, step

    def score(self, task: str, value: float, metric: str = "score", *, step: int | None = None) -> None:
        """Add a score of an evaluation, for the report.

        :param task: name of the task.
        :param value: the score; higher is better.
        :param metric: name of the score.
        :param step: the optimizer step after which the model was evaluated; the last one unless given.
        :raises UsageError: for an unknown task, a value that is not a number, or a score before the first step.
        """
        if task not in self.tasks:
            raise UsageError(f"unknown task '{task}'; this watch has {', '.join(self.tasks)}")
        if not self._active():
            return
        at, number = self._step if step is None else step, checked_score(value, task)
        if at < 1:
            raise UsageError("a score needs a step: call watch(losses) first, or give step=")
        self._write()
        row: Any = {"step": at, "scores": {task: {metric: number}}, "elapsed": self._elapsed()}
        self._append([row])

    def close(self) -> None:
        """Write the record of the run. Later calls of the watch are errors; closing it again does nothing.

        :raises UsageError: when no step was watched.
        :raises NotRecorded: when it cannot be written; the log stays, and ``resume=True`` goes on from it.
        """
        if self._state in ("closed", "broken") or process()[0] != 0:
            self._state = "closed"
            return
        if self._log is not None:
            self._write()
        if self._state == "broken":
            return
        self._state = "closed"
        if self._log is None or self._log.finish() is None:
            raise UsageError(f"nothing was watched: call watch(losses) before backward(), in every step ({self.name})")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        elif self._log is not None:  # training failed: what was measured stays, and resume=True goes on from it
            if self._state != "broken":
                self._write()
            self._log.release()
            self._state = "closed"

    def _active(self) -> bool:
        """Open the log at the first call. Only rank 0 measures; processes may be known only by now."""
        if self._state == "closed":
            raise UsageError(f"this watch ({self.name}) is closed; make a new one, with resume=True to go on")
        if self._state == "new":
            if process()[0] == 0:
                self._open()
            else:
                self._state = "other rank"
        return self._state in ("open", "resumed")

    def _open(self) -> None:
        """Open the log, and go on after its last step where it has one."""
        begun = Start(self.name, self.tasks, self.every, self._proposals.specs, *process())
        self._begun = time.monotonic()
        self._log, rows = open_log(self.folder, begun, self._shared.parameters(), resume=self._resume)
        self._step = max((row["step"] for row in rows), default=0)
        self._before = max((row["elapsed"] or 0.0 for row in rows if "elapsed" in row), default=0.0)
        self._last_look = last_looks(rows)
        self._state = "resumed" if rows else "open"

    def _look(self, losses: dict[str, torch.Tensor], entry: StepLosses) -> None:
        """Measure the gradients of the losses at hand."""
        begun = time.monotonic()
        tasks = list(losses)
        gradients, gram = measure(list(losses.values()), tasks, self._shared)
        look = look_fields(tasks, gram)
        values = np.array([float(loss.detach()) for loss in losses.values()])
        if tasks == self.tasks and np.isfinite(values).all() and np.isfinite(gram).all():
            weights = self._proposals.weights(values, gram, gradients)
            proposed = {spec: dict(zip(tasks, row.tolist(), strict=True)) for spec, row in weights}
            look |= {"proposed": proposed} if proposed else {}
        entry.add_look(look)
        entry.look["look"] = entry.look.get("look", 0.0) + time.monotonic() - begun
        entry.look["elapsed"] = self._elapsed()
        self._last_look |= dict.fromkeys(tasks, self._step)
        self._state = "open"

    def _elapsed(self) -> float:
        return self._before + time.monotonic() - self._begun

    def _write(self) -> None:
        """Write the rows of the pending steps."""
        rows = [entry.row(step) for step, entry in self._pending.items() if entry.losses]
        self._pending = {}
        self._append(rows)

    def _append(self, rows: Sequence[HistoryRow]) -> None:
        """Append rows; where that fails, stop watching rather than stop the training."""
        assert self._log is not None
        try:
            self._log.append(rows)
        except OSError as error:
            self._state = "broken"
            warnings.warn(
                f"the watch stops, and training goes on: cannot write to {self.folder}: {error}", stacklevel=4
            )
