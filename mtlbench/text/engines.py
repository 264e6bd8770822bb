"""The choice of the engine for a model's steps, and the forward passes that all engines run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
import torch
from torch import nn

from mtlbench import seeds
from mtlbench.contract.entries import EngineEntry
from mtlbench.contract.method import Method
from mtlbench.contract.observation import Vector
from mtlbench.engine.cost import give_memory_back
from mtlbench.engine.loop import LoopEngine, TaskLoss
from mtlbench.engine.packed.checks import all_finite
from mtlbench.engine.packed.layers import Recomputation, install
from mtlbench.engine.packed.layout import Layout
from mtlbench.engine.packed.pack import Pack
from mtlbench.engine.packed.packed_engine import PackedEngine
from mtlbench.engine.packed.strategy import Strategy
from mtlbench.engine.processes import ALONE, Processes
from mtlbench.engine.scaling import LossScale
from mtlbench.engine.step import Forward, NotFinite, Step
from mtlbench.errors import CellError
from mtlbench.recipe.suite import Recipe
from mtlbench.text.batches import TaskData
from mtlbench.text.model import MultiTaskModel
from mtlbench.text.task_loss import loss_of

Name = Literal["packed", "lean", "loop"]


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
            outputs = [self.model.heads[task](vectors) for task, vectors in zip(tasks, features, strict=True)]
        return [
            Forward(self._weighted(loss_of(self.data[task].task, output.float(), target), step, task), [vectors])
            for task, output, vectors, target in zip(tasks, outputs, features, targets, strict=True)
        ]

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
            chosen = [self.data[task] for task in tasks]
            batches = [task_data.batch(step, number, part, self.parts) for task_data in chosen]
            further: list[str | int] = [number] if number else []
            if self.parts > 1:
                further += ["part", part]
            masks = tuple(
                seeds.derive(self.seed, "dropout", step, task_data.task.key, *further) for task_data in chosen
            )
            pack = Pack.of([sequences for sequences, _ in batches], self.device, masks)
            if self.model.unpacked is None and pack.vectors is None:
                pack.prepare()
            self._packs[number, tasks, part] = pack, [targets for _, targets in batches]
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


class Engine(Protocol):
    """Interface between the training loop and an engine."""

    choice: EngineEntry
    """The engine's name, and why it is not the packed one."""

    @property
    def scale(self) -> LossScale | None:
        """The loss scale in float16, the only state that an engine keeps between steps; else ``None``."""

    def step(self, method: Method, step: int, *, measure: bool) -> Step:
        """Fill ``.grad`` of every trained parameter for one step.

        :param method: the method that weighs the task gradients.
        :param step: the step, from 0.
        :param measure: whether to return the Gram matrix.
        :returns: losses, weights and measurements.
        :raises NotFinite: when a loss or gradient is NaN or infinite.
        """


def make_engine(model: MultiTaskModel, inputs: Inputs, recipe: Recipe) -> Engine:
    """Return the recipe's engine; ``auto`` is the packed one wherever the encoder can be packed.

    :raises CellError: when the recipe asks for packing or for parts, and the encoder cannot be packed.
    """
    if recipe.engine in ("packed", "lean") and model.unpacked is not None:
        raise CellError(f"engine={recipe.engine} is not possible: {model.unpacked}; use engine=auto or loop")
    loops = recipe.engine == "loop" or model.unpacked is not None
    if loops and inputs.parts != inputs.processes.count:
        raise CellError(f"accumulate needs the packed engine, not the loop ({model.unpacked or 'asked for'})")
    if recipe.checkpointing:
        Recomputation(model.encoder, model.tape).switch(True)
    engine = _Loop(model, inputs, recipe) if loops else _Packed(model, inputs, recipe)
    return _Scaled(engine, inputs) if recipe.precision == "float16" else engine


class _Scaled:
    """Steps in float16: the loss scale, and the handling of steps whose gradients overflow."""

    def __init__(self, scaled: _Loop | _Packed, inputs: Inputs) -> None:
        self.choice, self.scale = scaled.choice, LossScale()
        self._scaled, self._inputs = scaled, inputs

    def step(self, method: Method, step: int, *, measure: bool) -> Step:
        # weights from losses are computed before the gradients: if these overflow, the method goes back to this state
        state = None if method.reads == "gradients" else method.state_dict()
        self._scaled.engine.loss_scale = self.scale.value
        try:
            result = self._scaled.step(method, step, measure=measure)
        except NotFinite as error:
            if error.what != "gradient":
                raise
            if state is not None:
                method.load_state_dict(state)
            self.scale.overflowed()
            return Step(self._inputs.losses_after(step), None, None, 1.0, skipped=True)
        self.scale.fitted()
        return result


class _Loop:
    scale = None

    def __init__(self, model: MultiTaskModel, inputs: Inputs, recipe: Recipe) -> None:
        self.choice: EngineEntry = {"name": "loop", "reason": model.unpacked or "asked for"}
        self.engine = LoopEngine(
            model.shared,
            model.last_shared_layer,
            match_sum=recipe.update_norm == "sum",
            names=model.named_parameters(),
            processes=inputs.processes,
        )
        self._inputs, self._heads = inputs, [list(head.parameters()) for head in model.heads]

    def step(self, method: Method, step: int, *, measure: bool) -> Step:
        def forward(task: int, number: int) -> Forward:
            return self._inputs.forward(step, number, [task], self._inputs.processes.rank)[0]

        tasks = [
            TaskLoss(lambda number, task=task: forward(task, number), head)  # type: ignore[misc]
            for task, head in enumerate(self._heads)
        ]
        return self.engine.step(method, tasks, measure=measure)


class _Packed:
    scale = None

    def __init__(self, model: MultiTaskModel, inputs: Inputs, recipe: Recipe) -> None:
        install(nn.ModuleList([model.encoder, model.fine_tuning]), model.tape)
        layout = Layout(model.shared, model.tables, model.named_parameters())
        tokens = sum(data.sizes.mean() * float(data.train_tokens.lengths().mean()) for data in inputs.data)
        way = Strategy.choose(layout, len(model.heads), tokens, {"packed": False, "lean": True}.get(recipe.engine))
        self.engine = PackedEngine(
            layout,
            model.last_shared_layer,
            model.tape,
            [list(head.parameters()) for head in model.heads],
            match_sum=recipe.update_norm == "sum",
            strategy=way,
            parts=inputs.parts,
            processes=inputs.processes,
        )
        self._inputs, self._tasks = inputs, range(len(model.heads))
        self.choice: EngineEntry = {"name": "lean" if self.engine.strategy.lean else "packed", "reason": None}
        self._saves = recipe.checkpointing
        self._recomputation: Recomputation | None = None
        if self.engine.strategy.lean and not self.engine.strategy.keeps and not model.settings.frozen:
            self._recomputation = Recomputation(model.encoder, model.tape)
            give_memory_back()

    def step(self, method: Method, step: int, *, measure: bool) -> Step:
        def forward(
            number: int, *, part: int = 0, tasks: Sequence[int] | None = None, recompute: bool = False
        ) -> list[Forward]:
            if self._recomputation is not None:
                self._recomputation.switch(recompute or self._saves)
            return self._inputs.forward(step, number, self._tasks if tasks is None else tasks, part)

        return self.engine.step(method, forward, measure=measure)
