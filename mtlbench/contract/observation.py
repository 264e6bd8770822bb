"""Input of a method for one optimizer step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mtlbench.errors import UsageError

if TYPE_CHECKING:
    import torch


Vector = NDArray[np.float64]
"""The type of a one-dimensional float64 array: K losses or weights."""
Matrix = NDArray[np.float64]
"""The type of a two-dimensional float64 array, such as a K × K Gram matrix."""

FLOOR = 1e-8
"""Stands in for a loss of exactly 0 where its logarithm or a ratio is taken. In single precision a cross entropy is 0
from a logit gap of about 17 on, where its true value is about 4·10⁻⁸. Positive losses keep their values, even below the
floor: a computed number is never replaced."""


class Observation:
    """The numbers of one step. Only what the method declares to read is present; reading anything else is an error.

    The engines and :func:`mtlbench.weights` create observations with :func:`mtlbench.contract.method_input.observe`,
    which checks the values. Create one yourself to call a method directly, as in a test:

    >>> import numpy as np
    >>> from mtlbench import Observation
    >>> observation = Observation(losses=np.array([0.5, 2.0]))
    >>> observation.tasks
    2
    >>> observation.losses.tolist()
    [0.5, 2.0]

    :param losses: (K,) mean losses of the tasks.
    :param gram: (K, K) inner products of the task gradients.
    :param cross_gram: (K, K) inner products between the task gradients of two independent batches.
    :param gradients: (K, P) task gradients.
    """

    def __init__(
        self,
        losses: Vector | None = None,
        gram: Matrix | None = None,
        *,
        cross_gram: Matrix | None = None,
        gradients: torch.Tensor | None = None,
    ) -> None:
        self._values: dict[str, Any] = {
            "losses": losses,
            "gram": gram,
            "cross_gram": cross_gram,
            "gradients": gradients,
        }
        self._floored: set[int] = set()
        self.tasks: int = next(iter(self.sizes.values()), 0)
        """K, the number of tasks."""

    @property
    def losses(self) -> Vector:
        """(K,) the losses Lᵢ, each the mean over its task's batch, in nats or squared standard deviations."""
        return self._read("losses")

    @property
    def gram(self) -> Matrix:
        """(K, K) inner products ⟨gᵢ, gⱼ⟩ of the task gradients, over the parameters of :attr:`Method.gram_of`."""
        return self._read("gram")

    @property
    def cross_gram(self) -> Matrix:
        """(K, K) inner products ⟨gᵢ(ξ₁), gⱼ(ξ₂)⟩ of two independent batches: an unbiased estimate of JJᵀ."""
        return self._read("cross_gram")

    @property
    def gradients(self) -> torch.Tensor:
        """(K, P) task gradients of the shared parameters, in their own precision and on their device. Read only."""
        return self._read("gradients")

    @property
    def sizes(self) -> dict[str, int]:
        """The number of tasks according to each value that is present, by the value's name."""
        return {name: len(value) for name, value in self._values.items() if value is not None}

    @property
    def floored(self) -> tuple[int, ...]:
        """The positions of the tasks for which :data:`FLOOR` replaced a 0."""
        return tuple(sorted(self._floored))

    def above_zero(self, values: Vector) -> Vector:
        """Return values with zeros replaced by :data:`FLOOR`, for logarithms or ratios; the record names the tasks.

        :param values: (K,) numbers, such as means of losses.
        """
        self.note_zeros(values)
        return above_zero(values)

    def note_zeros(self, values: Vector) -> None:
        """Have the record name the tasks whose values are 0. For methods that handle zeros themselves.

        :param values: (K,) numbers of which the method takes logarithms or ratios.
        """
        self._floored.update(np.flatnonzero(values == 0.0).tolist())

    def replace(self, **changes: Any) -> Observation:
        """Return a copy with some values replaced. For wrappers.

        :param changes: any of the constructor's parameters.
        """
        copy = Observation(**{**self._values, **changes})
        copy._floored = self._floored  # shared, so that zeros noted by the inner method count
        return copy

    def equals(self, other: Observation) -> bool:
        """Return whether two observations hold the same numbers, to the last bit.

        :param other: the observation to compare with.
        """
        pairs = [(value, other._values[name]) for name, value in self._values.items()]
        return all(
            (mine is None) == (theirs is None) and (mine is None or bool((mine == theirs).all()))
            for mine, theirs in pairs
        )

    def _read(self, name: str) -> Any:
        value = self._values[name]
        if value is None:
            raise UsageError(
                f"{name} were not given; declare what the method reads (reads, reads_losses), or give them"
            )
        return value


def above_zero(values: Vector) -> Vector:
    """Return values with zeros replaced by :data:`FLOOR`.

    :param values: numbers of any shape.
    """
    return np.where(values == 0.0, FLOOR, values)
