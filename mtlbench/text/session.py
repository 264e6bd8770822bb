"""One model in training on texts: an encoder with a head per task, its batches, its engine and its evaluation."""

from __future__ import annotations

from collections.abc import Sequence

from mtlbench.contract.entries import EncoderEntry, EngineEntry, PairingEntry, Scores
from mtlbench.contract.method import Method
from mtlbench.contract.observation import Vector
from mtlbench.engine.processes import Processes
from mtlbench.engine.scaling import LossScale
from mtlbench.engine.step import Step
from mtlbench.problem.interface import Labels, Outputs
from mtlbench.recipe.suite import Recipe
from mtlbench.text.batches import TaskData
from mtlbench.text.encoder import Encoder, EncoderFiles
from mtlbench.text.engines import make_engine
from mtlbench.text.evaluation import evaluate
from mtlbench.text.inputs import Inputs
from mtlbench.text.model import MultiTaskModel
from mtlbench.text.pairing import fingerprint_pairing
from mtlbench.text.shared_forward import SharedEngine


class TextSession:
    """A new model, ready for its first step; see :class:`mtlbench.problem.interface.Session`.

    :param encoder: which encoder, and how it turns texts into vectors.
    :param files: its files.
    :param recipe: the canonical recipe.
    :param seed: of initial weights and dropout masks.
    :param data: the tasks of the model's heads, in order.
    :param processes: the processes that train it together.
    """

    def __init__(
        self,
        encoder: Encoder,
        files: EncoderFiles,
        recipe: Recipe,
        seed: int,
        data: Sequence[TaskData],
        processes: Processes,
    ) -> None:
        self._data, self._device, self._processes = data, recipe.device, processes
        self.tasks = [task_data.task.key for task_data in data]
        tasks = [task_data.task for task_data in data]
        self.model = MultiTaskModel(encoder, files, tasks, seed).to(recipe.device).train()
        if encoder.frozen:
            for task_data in data:
                task_data.freeze(self.model.pooled)
        self.pairing: PairingEntry = fingerprint_pairing(self.model, data, seed, recipe.device)
        model = self.model
        self.shared, self.heads = model.shared, list(model.heads.parameters())
        self.size: EncoderEntry = {
            "parameters": sum(weights.numel() for weights in [*model.encoder.parameters(), *model.last_shared_layer]),
            "trainable": sum(weights.numel() for weights in model.shared),
        }
        self._inputs = Inputs(
            model, data, seed, recipe.device, precision=recipe.precision, parts=recipe.parts, processes=processes
        )
        self._engine = (
            SharedEngine(model, self._inputs, recipe, self.tasks)
            if recipe.shared_forward
            else make_engine(model, self._inputs, recipe)
        )
        self.splits = list(data[0].evaluated)

    @property
    def engine(self) -> EngineEntry:
        """The engine's name, and why it is not the packed one."""
        return self._engine.choice

    @property
    def scale(self) -> LossScale | None:
        """The loss scale in float16, else ``None``."""
        return self._engine.scale

    def step(self, method: Method, step: int, *, measure: bool) -> Step:
        """Fill ``.grad`` of every trained parameter for one step; see :meth:`Session.step`."""
        return self._engine.step(method, step, measure=measure)

    def ahead(self, step: int) -> None:
        """Prepare the next step's packs."""
        self._inputs.ahead(step)

    def losses_after(self, step: int) -> Vector:
        """Return the losses of a step's own batches, with their dropout masks, at the current parameters."""
        return self._inputs.losses_after(step)

    def factors(self, step: int) -> list[float]:
        """Return the factors of the tasks' losses in a step."""
        return [float(data.weights[step]) for data in self._data]

    def evaluate(self, split: str, step: int) -> tuple[Scores, Outputs, Labels]:
        """Score the model on every task's rows of a split; see :meth:`Session.evaluate`."""
        return evaluate(self.model, self._data, split, step, self._device, self._processes)
