"""Validate the input of a method before the method sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from mtlbench.contract.method import Method
from mtlbench.contract.numbers import as_numbers, written
from mtlbench.contract.observation import Matrix, Observation, Vector
from mtlbench.errors import UsageError

if TYPE_CHECKING:
    import torch

SLACK = 1e-5
"""Tolerated asymmetry of a Gram matrix relative to the norms: products in single precision are this inexact."""
HALF = 2.0**-5
"""Violations up to this one look like the rounding of half-precision products."""
DESCRIPTIONS = {
    "gram": "the Gram matrix of the task gradients",
    "cross_gram": "the inner products between two batches' task gradients",
    "gradients": "the task gradients themselves",
}
"""Values of :attr:`Method.reads` in words, for messages."""


def observe(
    method: Method,
    *,
    losses: ArrayLike | None = None,
    gram: ArrayLike | None = None,
    cross_gram: ArrayLike | None = None,
    gradients: torch.Tensor | None = None,
) -> Observation:
    """Validate the input of a method and return it in float64, converted by :func:`as_numbers`.

    Where the method takes logarithms of the losses, or its heads descend them, a loss of exactly 0 becomes
    :data:`mtlbench.contract.observation.FLOOR`, 10⁻⁸, and :attr:`Observation.floored` names the task; positive losses
    stay as they are.

    :param method: the method that will read the observation.
    :param losses: (K,) mean losses of the tasks.
    :param gram: (K, K) inner products of the task gradients.
    :param cross_gram: (K, K) inner products between the task gradients of two independent batches.
    :param gradients: (K, P) task gradients, which are neither checked nor converted.
    :raises UsageError: naming the method and the value: when a value is not made of real numbers; when K = 0 or K is
        below :attr:`Method.min_tasks`; when a value that the method reads is missing; when a matrix is not square,
        finite and symmetric, has a negative diagonal or does not hold inner products (|⟨gᵢ, gⱼ⟩| > ‖gᵢ‖‖gⱼ‖); when
        losses are not finite, or < 0 where logarithms are taken.
    """
    if losses is None and method.reads_losses != "no":
        raise UsageError(f"method {method.name} reads the losses: give losses")
    matrices = {"gram": gram, "cross_gram": cross_gram, "gradients": gradients}
    if method.reads != "losses" and matrices[method.reads] is None:
        raise UsageError(f"method {method.name} reads {DESCRIPTIONS[method.reads]}: give {method.reads}")
    observation = Observation(
        None if losses is None else _checked_losses(method, losses),
        None if gram is None else _checked_gram(method, gram),
        cross_gram=None if cross_gram is None else _square(method, "cross_gram", cross_gram),
        gradients=gradients,
    )
    if len(set(observation.sizes.values())) > 1:
        raise UsageError(f"method {method.name}: the number of tasks differs: {observation.sizes}")
    if observation.tasks < method.min_tasks:
        raise UsageError(f"method {method.name} needs at least {method.min_tasks} tasks, got {observation.tasks}")
    if losses is None or not _takes_logs(method):
        return observation
    return observation.replace(losses=observation.above_zero(observation.losses))


def _read(method: Method, name: str, value: ArrayLike) -> Matrix:
    return as_numbers(value, f"method {method.name}: {name}")


def _checked_losses(method: Method, values: ArrayLike) -> Vector:
    losses = _read(method, "losses", values)
    if losses.ndim != 1 or not np.isfinite(losses).all():
        raise UsageError(f"method {method.name}: losses must be K finite numbers, got {written(losses)}")
    if _takes_logs(method) and (losses < 0.0).any():
        raise UsageError(
            f"method {method.name} takes logarithms of the losses, so none may be negative: {written(losses)}"
        )
    return losses


def _takes_logs(method: Method) -> bool:
    return method.reads_losses == "positive" or method.heads == "log"


def _square(method: Method, name: str, values: ArrayLike) -> Matrix:
    matrix = _read(method, name, values)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise UsageError(f"method {method.name}: {name} must be a K × K matrix, got shape {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise UsageError(f"method {method.name}: {name} must be finite, got {written(matrix)}")
    return matrix


def _checked_gram(method: Method, values: ArrayLike) -> Matrix:
    matrix = _square(method, "gram", values)
    diagonal = np.diagonal(matrix)
    if (diagonal < 0.0).any():
        raise UsageError(f"method {method.name}: gram has a negative diagonal, {written(diagonal)}")
    lengths = np.sqrt(diagonal)
    bound = np.outer(lengths, lengths)
    asymmetry, excess = np.abs(matrix - matrix.T), np.abs(matrix) - bound
    for violation, fault in (
        (asymmetry, f"gram must be symmetric (to {SLACK:g} of the norms)"),
        (excess, "gram has |⟨gᵢ, gⱼ⟩| > ‖gᵢ‖‖gⱼ‖: no inner products"),
    ):
        if (violation > SLACK * bound).any():
            hint = "; compute the products in float32 or float64" if (violation <= HALF * bound).all() else ""
            raise UsageError(f"method {method.name}: {fault}{hint}: {written(matrix)}")
    with np.errstate(over="ignore"):
        mean: Matrix = (matrix + matrix.T) / 2.0
    if not np.isfinite(mean).all():
        raise UsageError(f"method {method.name}: gram is close to the largest number; scale the gradients")
    return mean
