"""What one optimizer step shows a method, checked before the method sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mtlbench.errors import UsageError

if TYPE_CHECKING:
    import torch

    from mtlbench.contract.method import Method

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

FLOOR = 1e-8
"""What a loss of exactly 0 counts as where its logarithm or a ratio is taken. In single precision a cross entropy is 0
from a logit gap of about 17 on, where its true value is about 4·10⁻⁸. Any positive loss keeps its value, also one below
the floor: a number that was computed is not replaced."""
SLACK = 1e-5
"""How far a Gram matrix may be from symmetric, relative to the norms: products of single precision are."""


class Observation:
    """The numbers of one step. What a method did not declare that it reads is absent, and asking for it is an error.

    Made by :func:`observe`, which checks; the attributes are float64 arrays of numpy, ``gradients`` a torch tensor.
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


def observe(
    method: Method,
    *,
    losses: ArrayLike | None = None,
    gram: ArrayLike | None = None,
    cross_gram: ArrayLike | None = None,
    gradients: torch.Tensor | None = None,
) -> Observation:
    """Check what a method is about to be given, and give it in float64.

    Where the method takes logarithms of the losses, or its heads descend them, a loss of exactly 0 is given as
    :data:`FLOOR`, 10⁻⁸, and :attr:`Observation.floored` names the task; positive losses are given as they are.

    :raises UsageError: naming the method and the value: when K = 0 or K is below :attr:`Method.min_tasks`; when what
        the method reads is missing; when a matrix is not square, finite, symmetric, has a negative diagonal or is not
        one of inner products (|⟨gᵢ, gⱼ⟩| > ‖gᵢ‖‖gⱼ‖); when losses are not finite, or < 0 where logarithms are taken.
    """
    if losses is None and method.reads_losses != "no":
        raise UsageError(f"method {method.name} reads the losses: give losses")
    if (
        method.reads != "losses"
        and {"gram": gram, "cross_gram": cross_gram, "gradients": gradients}[method.reads] is None
    ):
        raise UsageError(f"method {method.name} reads {_WORDS[method.reads]}: give {method.reads}")
    seen = Observation(
        None if losses is None else _losses(method, np.asarray(losses, dtype=np.float64)),
        None if gram is None else _gram(method, np.asarray(gram, dtype=np.float64)),
        cross_gram=None if cross_gram is None else _square(method, "cross_gram", np.asarray(cross_gram, np.float64)),
        gradients=gradients,
    )
    sizes = {name: len(value) for name, value in seen._given.items() if value is not None}
    if len(set(sizes.values())) > 1:
        raise UsageError(f"method {method.name}: the number of tasks differs: {sizes}")
    if seen.tasks < method.min_tasks:
        raise UsageError(f"method {method.name} needs at least {method.min_tasks} tasks, got {seen.tasks}")
    return seen if losses is None or not _takes_logs(method) else seen.replace(losses=seen.above_zero(seen.losses))


_WORDS = {
    "gram": "the Gram matrix of the task gradients",
    "cross_gram": "the inner products between two batches' task gradients",
    "gradients": "the task gradients themselves",
}


def _losses(method: Method, losses: Vector) -> Vector:
    if losses.ndim != 1 or not np.isfinite(losses).all():
        raise UsageError(f"method {method.name}: losses must be K finite numbers, got {losses.tolist()}")
    if _takes_logs(method) and (losses < 0.0).any():
        raise UsageError(
            f"method {method.name} takes logarithms of the losses, so none may be negative: {losses.tolist()}"
        )
    return losses


def _takes_logs(method: Method) -> bool:
    return method.reads_losses == "positive" or method.heads == "log"


def _square(method: Method, what: str, matrix: Matrix) -> Matrix:
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise UsageError(f"method {method.name}: {what} must be a K × K matrix, got shape {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise UsageError(f"method {method.name}: {what} must be finite, got {matrix.tolist()}")
    return matrix


def _gram(method: Method, matrix: Matrix) -> Matrix:
    _square(method, "gram", matrix)
    diagonal = np.diagonal(matrix)
    if (diagonal < 0.0).any():
        raise UsageError(f"method {method.name}: gram has a negative diagonal, {diagonal.tolist()}")
    lengths = np.sqrt(diagonal)
    bound = np.outer(lengths, lengths)
    if (np.abs(matrix - matrix.T) > SLACK * bound).any():
        raise UsageError(f"method {method.name}: gram must be symmetric (to {SLACK:g} of the norms): {matrix.tolist()}")
    if (np.abs(matrix) > (1.0 + SLACK) * bound).any():
        raise UsageError(f"method {method.name}: gram has |⟨gᵢ, gⱼ⟩| > ‖gᵢ‖‖gⱼ‖: no inner products: {matrix.tolist()}")
    return (matrix + matrix.T) / 2.0
