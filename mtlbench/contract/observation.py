"""What one optimizer step shows a method, checked before the method sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mtlbench.errors import UsageError

if TYPE_CHECKING:
    import torch


Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

FLOOR = 1e-8
"""What a loss of exactly 0 counts as where its logarithm or a ratio is taken. In single precision a cross entropy is 0
from a logit gap of about 17 on, where its true value is about 4·10⁻⁸. Any positive loss keeps its value, also one below
the floor: a number that was computed is not replaced."""


class Observation:
    """The numbers of one step. What a method did not declare that it reads is absent, and asking for it is an error.

    Made by :func:`mtlbench.contract.method_input.observe`, which checks; the attributes are float64 arrays of numpy,
    ``gradients`` a torch tensor.
    """

    def __init__(
        self,
        losses: Vector | None = None,
        gram: Matrix | None = None,
        *,
        cross_gram: Matrix | None = None,
        gradients: torch.Tensor | None = None,
    ) -> None:
        self._given: dict[str, Any] = {"losses": losses, "gram": gram, "cross_gram": cross_gram, "gradients": gradients}
        self._floored: set[int] = set()
        self.tasks: int = next((len(value) for value in self._given.values() if value is not None), 0)
        """K, the number of tasks."""

    @property
    def losses(self) -> Vector:
        """(K,) the losses Lᵢ, each the mean over its task's batch, in nats or squared standard deviations."""
        return self._get("losses")

    @property
    def gram(self) -> Matrix:
        """(K, K) inner products ⟨gᵢ, gⱼ⟩ of the task gradients, over the parameters of :attr:`Method.gram_of`."""
        return self._get("gram")

    @property
    def cross_gram(self) -> Matrix:
        """(K, K) inner products ⟨gᵢ(ξ₁), gⱼ(ξ₂)⟩ of two independent batches: an unbiased estimate of JJᵀ."""
        return self._get("cross_gram")

    @property
    def gradients(self) -> torch.Tensor:
        """(K, P) the task gradients of the shared parameters, in their own precision and on their device. Read only."""
        return self._get("gradients")

    @property
    def floored(self) -> tuple[int, ...]:
        """The positions of the tasks for which a method was given, or took, :data:`FLOOR` in place of 0."""
        return tuple(sorted(self._floored))

    def above_zero(self, values: Vector) -> Vector:
        """Return values with :data:`FLOOR` for zeros, to take logarithms or ratios; the record names the tasks.

        :param values: (K,) numbers, such as means of losses.
        """
        self.note_zeros(values)
        return above_zero(values)

    def note_zeros(self, values: Vector) -> None:
        """Let the record name the tasks whose values are 0, where a method has a way of its own to take logarithms."""
        self._floored.update(np.flatnonzero(values == 0.0).tolist())

    def replace(self, **changes: Any) -> Observation:
        """Return a copy with some of the four changed: for wrappers."""
        copy = Observation(**{**self._given, **changes})
        copy._floored = self._floored  # one set: what the inner method notes counts
        return copy

    def equals(self, other: Observation) -> bool:
        """Whether two observations hold the same numbers, to the last bit."""
        pairs = [(value, other._given[name]) for name, value in self._given.items()]
        return all((one is None) == (two is None) and (one is None or bool((one == two).all())) for one, two in pairs)

    def _get(self, name: str) -> Any:
        value = self._given[name]
        if value is None:
            raise UsageError(
                f"{name} were not given; declare what the method reads (reads, reads_losses), or give them"
            )
        return value


def above_zero(values: Vector) -> Vector:
    """Return values with :data:`FLOOR` in place of zeros."""
    return np.where(values == 0.0, FLOOR, values)
