"""The batches of a cell's steps, and the forward passes that all engines run on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from mtlbench import seeds
from mtlbench.contract.observation import Vector
from mtlbench.engine.packed.checks import all_finite
from mtlbench.engine.packed.pack import Pack
from mtlbench.engine.processes import ALONE, Processes
from mtlbench.engine.step import Forward
from mtlbench.text.batches import TaskData
from mtlbench.text.model import MultiTaskModel
from mtlbench.text.task_loss import loss_of


class Inputs:
    """The batches of a cell's steps, and the forward passes of tasks on them.

    Dropout masks depend only on seed, step, task and batch number (and part), not on which tasks run together.

    :param model: the model.
    :param data: the tasks of its heads, in order.
    :param seed: of the dropout masks.
    :param device: of the model.
    :param precision: of the forward pass; losses are float32.
    :param parts: equal parts of every batch.
    :param processes: the processes that share the parts.
    """

    def __init__(
        self,
        model: MultiTaskModel,
        data: Sequence[TaskData],
        seed: int,
        device: str,
        *,
        precision: str = "float32",
        parts: int = 1,
        processes: Processes = ALONE,
    ) -> None:
        self.model, self.data, self.seed, self.device = model, data, seed, device
        self.precision: torch.dtype = getattr(torch, precision)
        self.parts, self.processes = parts, processes
        self._step = 0
        draws = [task_data.draws for task_data in data]
        self._leaders = [draws.index(key) for key in draws]
        """For each task, the first one with the same batches: both read the features of one forward pass."""
        self._packs: dict[tuple[int, tuple[int, ...], int], tuple[Pack, list[torch.Tensor]]] = {}

    def forward(self, step: int, number: int, tasks: Sequence[int], part: int = 0) -> list[Forward]:
        """Run some tasks on one of a step's batches, or on a part of it, in one pack.

        :param step: the step, from 0.
        :param number: 0 for the batch of the update; 1 and 2 for further, independent batches.
        :param tasks: positions of the tasks.
        :param part: of the batch.
        :returns: loss and representation of each task.
        """
        pack, targets = self._packed(step, number, tuple(tasks), part)
        half = self.precision is not torch.float32
        with torch.autocast(torch.device(self.device).type, self.precision if half else None, enabled=half):
            features = self.model.features(pack)
            features = [features[place] for place in self._places(tasks)]
            outputs = [self.model.heads[task](vectors) for task, vectors in zip(tasks, features, strict=True)]
        return [
            Forward(self._weighted(loss_of(self.data[task].task, output.float(), target), step, task), [vectors])
            for task, output, vectors, target in zip(tasks, outputs, features, targets, strict=True)
        ]

    def joint(self, step: int, number: int, part: int = 0) -> list[Forward]:
        """Run all tasks on one of a step's batches, or on a part of it, in as few forward passes as the model allows.

        :param step: the step, from 0.
        :param number: 0 for the batch of the update; 1 and 2 for further, independent batches.
        :param part: of the batch.
        :returns: loss and representation of each task; tasks that share a batch have one representation.
        """
        tasks = range(len(self.data))
        if self.model.unpacked is None:
            return self.forward(step, number, tasks, part)
        groups = [[task for task in tasks if self._leaders[task] == leader] for leader in sorted(set(self._leaders))]
        passes = {
            task: result
            for group in groups
            for task, result in zip(group, self.forward(step, number, group, part), strict=True)
        }
        return [passes[task] for task in tasks]

    def _places(self, tasks: Sequence[int]) -> list[int]:
        """Return for each of some tasks the place of its leader among their leaders."""
        leaders = list(dict.fromkeys(self._leaders[task] for task in tasks))
        return [leaders.index(self._leaders[task]) for task in tasks]

    def _weighted(self, loss: torch.Tensor, step: int, task: int) -> torch.Tensor:
        weight = float(self.data[task].weights[step])
        return loss if weight == 1.0 else weight * loss

    def ahead(self, step: int) -> None:
        """Prepare the next step's packs, of the same kinds as this step's.

        Call it while the device still computes this step. A thread is not needed: on a CPU, a step's packs take about a
        thousandth of the step's time, and copies to a GPU do not wait.

        :param step: the next step, from 0.
        """
        for number, tasks, part in list(self._packs):
            self._packed(step, number, tasks, part)

    def _packed(self, step: int, number: int, tasks: tuple[int, ...], part: int) -> tuple[Pack, list[torch.Tensor]]:
        """Return the pack and the targets of some tasks; they are built once per step."""
        if step != self._step:
            self._step, self._packs = step, {}
        if (number, tasks, part) not in self._packs:
            places = self._places(tasks)
            chosen = [self.data[tasks[places.index(place)]] for place in range(max(places) + 1)]
            sequences = [task_data.batch(step, number, part, self.parts)[0] for task_data in chosen]
            further: list[str | int] = [number] if number else []
            if self.parts > 1:
                further += ["part", part]
            masks = tuple(seeds.derive(self.seed, "dropout", step, task_data.draws, *further) for task_data in chosen)
            pack = Pack.of(sequences, self.device, masks)
            if self.model.unpacked is None and pack.vectors is None:
                pack.prepare()
            targets = [self.data[task].batch_targets(step, number, part, self.parts) for task in tasks]
            self._packs[number, tasks, part] = pack, targets
        return self._packs[number, tasks, part]

    def losses_after(self, step: int) -> Vector:
        """Return the losses of a step's own batches, with their dropout masks, at the current parameters.

        :param step: the step, from 0.
        :returns: (K,) losses.
        :raises NotFinite: when a loss is NaN or infinite.
        """
        # with a graph, although it is not needed: without one, torch picks other kernels, which draw other masks
        groups = [range(len(self.data))] if self.model.unpacked is None else [[task] for task in range(len(self.data))]
        losses = np.zeros(len(self.data))
        for part in self.processes.own(self.parts):
            graphs = [graph for tasks in groups for graph in self.forward(step, 0, tasks, part)]
            losses += [float(graph.loss.detach()) for graph in graphs]
        losses = self.processes.total(losses) / self.parts
        all_finite(losses, "loss after the step")
        return losses
