"""What engines take and give: forwards of tasks, and what one step measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mtlbench.contract.observation import Matrix, Vector


class NotFinite(ArithmeticError):
    """A loss or a gradient of one task is NaN or infinite.

    :param task: the task's position.
    :param what: ``"loss"``, ``"gradient"`` or ``"loss after the step"``.
    :param parameter: name of the first parameter whose gradient is not finite, where it is known.
    """

    def __init__(self, task: int, what: str, value: float, parameter: str | None = None) -> None:
        super().__init__(f"{what} of task {task} is {value}{self._place(parameter)}")
        self.task, self.what, self.value, self.parameter = task, what, value, parameter

    def about(self, task: str) -> str:
        """Return the message with the task's own name."""
        return f"the {self.what} of task {task} is {self.value}{self._place(self.parameter)}"

    @staticmethod
    def _place(parameter: str | None) -> str:
        return "" if parameter is None else f", first in {parameter}"


@dataclass(frozen=True)
class Forward:
    """A task's forward: its scalar loss, and the tensors between shared parameters and head (the representation)."""

    loss: torch.Tensor
    representation: Sequence[torch.Tensor] = ()


@dataclass(frozen=True)
class Step:
    """What one step measured.

    :param losses: (K,) losses of the step's own batches.
    :param weights: (K,) the method's weights; ``None`` for a method that returns an update.
    :param gram: (K, K) Gram matrix over all shared parameters, where somebody needed it.
    :param factor: what the update was multiplied with, by clipping or to match the sum's norm.
    :param skipped: whether a gradient overflowed float16, so that there is no update to take.
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

    :raises NotFinite: naming the task's position.
    """
    value = float(loss.detach())
    if not np.isfinite(value):
        raise NotFinite(task, "loss", value)
    return value
