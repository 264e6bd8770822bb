"""Tasks on the same texts: one batch and one forward pass for all of them, and surgery's own steps on the K losses."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mtlbench.contract.entries import EngineEntry
from mtlbench.contract.method import Method
from mtlbench.engine.packed.layers import Recomputation
from mtlbench.engine.scaling import LossScale
from mtlbench.engine.step import Step
from mtlbench.problem.engine import SurgeryEngine
from mtlbench.problem.forwards import Forward
from mtlbench.recipe.suite import Recipe
from mtlbench.text.inputs import Inputs
from mtlbench.text.model import MultiTaskModel

REASON = "tasks share forward passes"


class SharedEngine:
    """Engine of cells with ``shared_forward``; see :class:`mtlbench.text.engines.Engine`.

    Methods that read losses cost one joint backward pass; those that read all task gradients one pass for each task.

    :param model: the model.
    :param inputs: the batches.
    :param recipe: the recipe.
    :param names: the tasks' keys, in the order of the heads.
    """

    def __init__(self, model: MultiTaskModel, inputs: Inputs, recipe: Recipe, names: Sequence[str]) -> None:
        self.choice: EngineEntry = {"name": "surgery", "reason": REASON}
        self._scale = LossScale() if recipe.precision == "float16" else None
        if recipe.checkpointing:
            Recomputation(model.encoder, model.tape).switch(True)
        self._model, self._inputs = model, inputs
        ids = {id(parameter) for parameter in model.shared}
        shared = {name: parameter for name, parameter in model.named_parameters() if id(parameter) in ids}
        self._engine = SurgeryEngine(
            shared,
            [*model.shared, *model.heads.parameters()],
            names,
            model.last_shared_layer,
            match_sum=recipe.update_norm == "sum",
            scale=self._scale,
            parts=list(inputs.processes.own(inputs.parts)),
            processes=inputs.processes,
        )

    @property
    def scale(self) -> LossScale | None:
        """The loss scale in float16, else ``None``."""
        return self._scale

    def step(self, method: Method, step: int, *, measure: bool) -> Step:
        """Fill ``.grad`` of every trained parameter for one step."""

        def run(number: int, part: int) -> Forward:
            passes = self._inputs.joint(step, number, part)
            features: dict[int, torch.Tensor] = {id(one.representation[0]): one.representation[0] for one in passes}
            return Forward([one.loss for one in passes], list(features.values()))

        return self._engine.step(method, run, measure=measure)
