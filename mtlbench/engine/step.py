"""Input and output of the engines: tasks' forwards, and the measurements of a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mtlbench.contract.observation import Matrix, Vector


class NotFinite(ArithmeticError):
    """A NaN or infinite loss or gradient of one task.

    :param task: the task's position; ``None`` for the gradient of the weighted sum.
    :param what: ``"loss"``, ``"gradient"`` or ``"loss after the step"``.
    :param value: the NaN or infinity.
    :param parameter: name of the first parameter whose gradient is not finite, if known.
    :param name: the task's name, if it has one.
    """

    def __init__(
        self, task: int | None, what: str, value: float, parameter: str | None = None, name: str | None = None
    ) -> None:
        self.task, self.what, self.value, self.parameter = task, what, value, parameter
        super().__init__(self._sentence("" if task is None else str(task) if name is None else name))

    def about(self, task: str | None) -> str:
        """Return the message with the task's name in place of its position."""
        return f"the {self._sentence(task or '')}"

    def _sentence(self, task: str) -> str:
        owner = f"task {task}" if task else "the weighted sum of the losses"
        return f"{self.what} of {owner} is {self.value}{self._place(self.parameter)}"

    @staticmethod
    def _place(parameter: str | None) -> str:
        return "" if parameter is None else f", first in {parameter}"


@dataclass(frozen=True)
class Forward:
    """Result of one task's forward.

    :param loss: the scalar loss, with its graph.
    :param representation: the tensors between the shared parameters and the head.
    """

    loss: torch.Tensor
    representation: Sequence[torch.Tensor] = ()


@dataclass(frozen=True)
class Step:
    """Measurements of one step.

    :param losses: (K,) losses of the batches of the update.
    :param weights: (K,) the method's weights; ``None`` for a method that returns an update.
    :param gram: (K, K) Gram matrix over all shared parameters; ``None`` where it was not computed.
    :param factor: factor of the update, from clipping or from matching the sum's norm.
    :param skipped: whether a gradient overflowed float16, so there is no update to apply.
    :param floored: positions of the tasks whose loss of exactly 0 counted as
        :data:`mtlbench.contract.observation.FLOOR`.
    """

    losses: Vector
    weights: Vector | None
    gram: Matrix | None
    factor: float
    skipped: bool = False
    floored: tuple[int, ...] = ()


def value_of(loss: torch.Tensor, task: int) -> float:
    """Return a loss as a number.

    :param loss: scalar tensor.
    :param task: the task's position, for the error.
    :raises NotFinite: when the loss is not finite.
    """
    value = float(loss.detach())
    if not np.isfinite(value):
        raise NotFinite(task, "loss", value)
    return value
