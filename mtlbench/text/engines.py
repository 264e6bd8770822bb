"""The choice of the engine for a model's steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from torch import nn

from mtlbench.contract.entries import EngineEntry
from mtlbench.contract.method import Method
from mtlbench.engine.cost import give_memory_back
from mtlbench.engine.loop import LoopEngine, TaskLoss
from mtlbench.engine.packed.layers import Recomputation, install
from mtlbench.engine.packed.layout import Layout
from mtlbench.engine.packed.packed_engine import PackedEngine
from mtlbench.engine.packed.strategy import Strategy
from mtlbench.engine.scaling import LossScale
from mtlbench.engine.step import Forward, NotFinite, Step
from mtlbench.errors import CellError
from mtlbench.problem.interface import Stepper
from mtlbench.recipe.suite import Recipe
from mtlbench.text.inputs import Inputs
from mtlbench.text.model import MultiTaskModel

Name = Literal["packed", "lean", "loop"]


class Engine(Stepper, Protocol):
    """What computes the gradients of a step of a model of texts."""

    choice: EngineEntry
    """The engine's name, and why it is not the packed one."""


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
