"""The forward passes of a session's steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mtlbench import seeds
from mtlbench.contract.problem import Target
from mtlbench.problem.batch import Batch, TrainingRows
from mtlbench.problem.hooks import Hooks
from mtlbench.problem.randomness import seeded


@dataclass(frozen=True)
class Forward:
    """Losses of one batch.

    :param losses: one for each of the tasks asked for.
    :param representation: tensors that all losses are computed from, where the problem names them.
    :param outputs: of the same tasks, of all rows.
    """

    losses: list[torch.Tensor]
    representation: list[torch.Tensor]
    outputs: list[torch.Tensor] = field(default_factory=list)


def forward(
    hooks: Hooks,
    model: nn.Module,
    batch: Batch,
    tasks: Sequence[Target],
    asked: Sequence[Target],
    *,
    precision: torch.dtype = torch.float32,
    representation: nn.Module | None = None,
) -> Forward:
    """Run one forward pass and the losses of some tasks.

    :param hooks: the author's code.
    :param model: the model.
    :param batch: made for ``tasks``.
    :param tasks: the tasks whose losses are computed.
    :param asked: the tasks whose outputs are computed.
    :param precision: of the forward pass; losses are of float32 at least.
    :param representation: the module whose output all heads read.
    """
    device = batch.labels[0].device.type
    half = nullcontext() if precision is torch.float32 else torch.autocast(device, precision)
    with _captured(representation) as captured, half:
        outputs = hooks.outputs(model, batch.inputs, asked, batch.rows)
    losses = []
    for target, labelled, labels, factor in zip(tasks, batch.labelled, batch.labels, batch.factors, strict=True):
        output = outputs[target.name]
        output = output.float() if output.element_size() < 4 else output
        if not len(labels):
            losses.append((output * 0.0).sum())  # a part without a labelled row adds nothing, but has a graph
            continue
        labels = labels.to(output.dtype) if labels.is_floating_point() else labels
        loss = hooks.loss(target, output if labelled is None else output[labelled], labels)
        losses.append(loss if factor == 1.0 else loss * factor)
    return Forward(losses, captured, [outputs[target.name] for target in tasks])


@contextmanager
def _captured(module: nn.Module | None) -> Iterator[list[torch.Tensor]]:
    """Yield a list that fills with the outputs of a module."""
    tensors: list[torch.Tensor] = []
    if module is None:
        yield tensors
        return

    def keep(_: nn.Module, __: Any, output: Any) -> None:
        parts = (
            output if isinstance(output, list | tuple) else output.values() if isinstance(output, dict) else [output]
        )
        tensors.extend(part for part in parts if isinstance(part, torch.Tensor) and part.grad_fn is not None)

    handle = module.register_forward_hook(keep)
    try:
        yield tensors
    finally:
        handle.remove()


@contextmanager
def kept_buffers(model: nn.Module) -> Iterator[None]:
    """Put buffers, such as BatchNorm's running statistics, back to what they were before the block."""
    saved = [
        (module, name, buffer, buffer.detach().clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    try:
        yield
    finally:
        for module, name, buffer, value in saved:
            module._buffers[name] = buffer
            buffer.data.copy_(value)  # .data: the graph of an earlier forward may hold the buffer


class Inputs:
    """The forward passes of a session's steps.

    :param model: the model.
    :param rows: the training rows.
    :param tasks: the tasks that the session trains.
    :param schedules: for each batch of a step and each group of tasks, (steps, …) numbers of rows; see
        :class:`mtlbench.problem.rows.ProblemRows`.
    :param weights: for each task, (steps,) factors of its loss.
    :param seed: of the random numbers in forward passes.
    :param precision: of forward passes.
    :param parts: equal parts of every batch.
    :param representation: the module whose output all heads read, if the problem names it.
    """

    def __init__(
        self,
        model: nn.Module,
        rows: TrainingRows,
        tasks: Sequence[Target],
        schedules: Sequence[Sequence[Sequence[NDArray[np.int64]]]],
        weights: Sequence[NDArray[np.float64]],
        seed: int,
        *,
        precision: str = "float32",
        parts: int = 1,
        representation: nn.Module | None = None,
    ) -> None:
        self.model, self.rows, self.tasks, self.seed, self.parts = model, rows, tuple(tasks), seed, parts
        self.precision: torch.dtype = getattr(torch, precision)
        self.representation = representation
        self._schedules, self._weights = schedules, weights
        self.separate = rows.hooks.problem.separate
        self.groups: list[tuple[Target, ...]] = [(task,) for task in self.tasks] if self.separate else [self.tasks]
        self._ready: dict[tuple[int, int, int, int], Batch] = {}

    def forward(self, step: int, number: int = 0, part: int = 0) -> Forward:
        """Run all tasks on one of a step's batches, or on a part of it.

        Random numbers depend on seed, step, number and part alone, and where every task has a batch of its own, on the
        task. All tasks' outputs are computed, also where one task is trained, so that all draw the same.

        :param step: the step, from 0.
        :param number: 0 for the batch of the update; 1 and 2 for further, independent batches.
        :param part: of the batch.
        """
        losses: list[torch.Tensor] = []
        representation: list[torch.Tensor] = []
        outputs: list[torch.Tensor] = []
        for group, tasks in enumerate(self.groups):
            key = (step, number, part, group)
            batch = self._ready.pop(key, None) or self._batch(*key)  # read anew a second time: a model may change it
            asked = tasks if self.separate else self.rows.hooks.targets
            purpose: list[str | int] = [*([tasks[0].name] if self.separate else []), *([number] if number else [])]
            purpose += ["part", part] if self.parts > 1 else []
            with seeded(seeds.derive(self.seed, "dropout", step, *purpose), self.rows.device):
                result = forward(
                    self.rows.hooks,
                    self.model,
                    batch,
                    tasks,
                    asked,
                    precision=self.precision,
                    representation=self.representation,
                )
            losses += result.losses
            representation += result.representation
            outputs += result.outputs
        weighted = zip(losses, self.factors(step), strict=True)
        return Forward([loss if w == 1.0 else loss * w for loss, w in weighted], representation, outputs)

    def factors(self, step: int) -> list[float]:
        """Return the factors of the tasks' losses.

        :param step: the step, from 0.
        """
        return [float(weights[step]) for weights in self._weights]

    def batches(self, step: int) -> list[tuple[Sequence[Target], Batch]]:
        """Return the whole batches of a step's update, each with its tasks: one for all, or one for each.

        :param step: the step, from 0.
        """
        return [
            (tasks, self.rows.batch(steps[step], tasks))
            for tasks, steps in zip(self.groups, self._schedules[0], strict=True)
        ]

    def ahead(self, step: int, parts: Sequence[int]) -> None:
        """Prepare a step's first batch.

        :param step: the step, from 0.
        :param parts: the parts of it that this process computes.
        """
        keys = [(step, 0, part, group) for part in parts for group in range(len(self.groups))]
        self._ready = {key: self._batch(*key) for key in keys}

    def _batch(self, step: int, number: int, part: int, group: int) -> Batch:
        numbers, tasks = self._schedules[number][group][step], self.groups[group]
        if not self.rows.draws:
            return self.rows.batch(numbers, tasks, part, self.parts)
        purpose: list[str | int] = [*([tasks[0].name] if self.separate else []), number, part]
        with seeded(seeds.derive(self.seed, "rows", step, *purpose), self.rows.device):
            return self.rows.batch(numbers, tasks, part, self.parts)
