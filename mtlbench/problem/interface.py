"""The interface between a problem and everything above it: keys, records, the training loop, the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mtlbench.contract.entries import EncoderEntry, EngineEntry, PairingEntry, Scores, TaskEntry
from mtlbench.contract.method import Method
from mtlbench.contract.observation import Vector
from mtlbench.contract.task import Kind
from mtlbench.recipe.suite import Recipe

if TYPE_CHECKING:  # to plan a grid, no torch is needed
    import torch
    from torch import nn

    from mtlbench.engine.processes import Processes
    from mtlbench.engine.scaling import LossScale
    from mtlbench.engine.step import Step

Outputs = dict[str, NDArray[np.float32]]
"""Task → (N, outputs) raw outputs."""
Labels = dict[str, NDArray[Any]]
"""Task → (N,) labels, or (N, outputs) where a row may have several."""


class Scored(Protocol):
    """A task, as far as keys, records and scores are concerned."""

    @property
    def key(self) -> str:
        """The name in records, tables and seeds."""

    @property
    def spec(self) -> str:
        """Name and parameters."""

    @property
    def counted_spec(self) -> str:
        """Name and parameters as they count in keys: without those that only say where rows are."""

    @property
    def prediction(self) -> Kind:
        """The kind of label."""

    @property
    def outputs(self) -> int:
        """The number of outputs of a row."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of metrics, the primary one first."""


class Stepper(Protocol):
    """What computes the gradients of a step."""

    @property
    def scale(self) -> LossScale | None:
        """The loss scale in float16, the only state between steps besides the model's; else ``None``."""

    def step(self, method: Method, step: int, *, measure: bool) -> Step:
        """Fill ``.grad`` of every trained parameter for one step.

        :param method: the method that weighs the task gradients.
        :param step: the step, from 0.
        :param measure: whether to return the Gram matrix.
        :returns: losses, weights and measurements.
        :raises NotFinite: when a loss or gradient is NaN or infinite.
        """


class Session(Stepper, Protocol):
    """One model in training: its tasks, batches, engine and evaluation.

    Batches and random numbers of a step depend only on seed and step, so that a session needs no state but that of the
    model and of the loss scale.
    """

    @property
    def model(self) -> nn.Module:
        """The model, in training mode and on its device."""

    @property
    def tasks(self) -> Sequence[str]:
        """Keys of the tasks that it trains on."""

    @property
    def shared(self) -> Sequence[torch.Tensor]:
        """The trained shared parameters."""

    @property
    def heads(self) -> Sequence[torch.Tensor]:
        """All other trained parameters."""

    @property
    def size(self) -> EncoderEntry:
        """Numbers of shared parameters and of trained ones."""

    @property
    def pairing(self) -> PairingEntry:
        """Hashes that must agree between methods of one seed; made before the first step."""

    @property
    def engine(self) -> EngineEntry:
        """The engine's name, and why it is not the packed one."""

    @property
    def splits(self) -> Sequence[str]:
        """The splits to score: ``dev``, and ``test`` if there is one."""

    def ahead(self, step: int) -> None:
        """Prepare the batches of the next step, while the device may still compute this one.

        :param step: the next step, from 0.
        """

    def losses_after(self, step: int) -> Vector:
        """Return (K,) losses of a step's own batches, with its random numbers, at the current parameters.

        :param step: the step, from 0.
        :raises NotFinite: when a loss is NaN or infinite.
        """

    def factors(self, step: int) -> list[float]:
        """Return the factors of the tasks' losses in a step; histories contain the losses without them.

        :param step: the step, from 0.
        """

    def evaluate(self, split: str, step: int) -> tuple[Scores, Outputs, Labels]:
        """Score the model on every task's rows of a split.

        :param split: ``"dev"`` or ``"test"``.
        :param step: optimizer steps done, for error messages.
        :raises CellError: when a metric is not defined for the outputs; it names step and task.
        """


class CellRows(Protocol):
    """The rows of one cell: what each seed draws for each task."""

    @property
    def seen(self) -> Mapping[str, int]:
        """Task → training rows that the steps take, each as often as it is taken."""

    @property
    def cut(self) -> Mapping[str, Mapping[str, int]]:
        """Task → what was cut off its rows, where inputs have a largest size."""

    def session(self, tasks: Sequence[int], processes: Processes) -> Session:
        """Return a new model, ready for its first step.

        :param tasks: positions of the tasks that it trains on: all, or one for the single-task baseline.
        :param processes: the processes that train it together.
        """


class Loaded(Protocol):
    """A problem with its rows, as a recipe chooses them."""

    @property
    def tasks(self) -> Sequence[Scored]:
        """The tasks, in the order of the heads."""

    @property
    def title(self) -> str:
        """The model or the problem, for people."""

    @property
    def rows(self) -> int:
        """The number of training rows of the largest task: an epoch."""

    @property
    def libraries(self) -> Sequence[str]:
        """Packages that affect results here and not elsewhere; records have their versions."""

    @property
    def trial(self) -> Any:
        """What trying the model has shown, so that the cells' processes need not try it again; ``None`` for nothing."""

    def recipe(self, recipe: Recipe) -> Recipe:
        """Return the recipe with specs in their canonical spelling, so that two spellings give the same key.

        :param recipe: as the user wrote it.
        """

    def identity(self, recipe: Recipe) -> dict[str, Any]:
        """Return everything besides method, seed and the recipe's own fields that decides results, as plain data.

        :param recipe: the canonical recipe.
        """

    def check(self, recipe: Recipe) -> None:
        """Try the model once, before a grid begins.

        :param recipe: the canonical recipe.
        :raises UsageError: when the model does not suit these tasks or this recipe.
        """

    def accept(self, recipe: Recipe, method: Method) -> None:
        """Refuse a method that the problem cannot train, before a grid begins.

        :param recipe: the canonical recipe.
        :param method: the method.
        :raises UsageError: when the method needs what the problem does not declare.
        """

    def notes(self, recipe: Recipe) -> list[str]:
        """Return warnings to print before a grid begins.

        :param recipe: the canonical recipe.
        """

    def alone(self, task: int, rows: int) -> Loaded:
        """Return one task with one batch of its rows, to train on and to score, as ``mtlbench overfit`` does.

        :param task: the task's position.
        :param rows: the most rows; fewer where there are not as many distinct ones.
        """

    def describe(self) -> dict[str, TaskEntry]:
        """Return each task's rows, source, trivial floors and oddities, by its key, as records have them."""

    def entry(self) -> EncoderEntry:
        """Return the model, as records have it."""

    def prepare(self, recipe: Recipe, method: Method, seed: int) -> CellRows:
        """Return the rows of one cell.

        :param recipe: the canonical recipe, with steps.
        :param method: it says how many independent batches a step has, and whether tasks train jointly.
        :param seed: of initial weights, batches and dropout masks.
        """
