"""Validate the inputs of many problems at once, by the rules of :func:`mtlbench.contract.method_input.observe`."""

from __future__ import annotations

import numpy as np

from mtlbench.batched.arrays import Grams, Mask, Rows, diagonals, every, outer
from mtlbench.contract.method import Method
from mtlbench.contract.method_input import SLACK, observe
from mtlbench.contract.observation import Matrix, Vector, above_zero
from mtlbench.errors import UsageError


def check_losses(method: Method, losses: Rows) -> tuple[Rows, Mask]:
    """Return losses as the method reads them, and which rows are valid.

    :param method: the method that reads them.
    :param losses: (B, K) losses.
    :returns: (B, K) losses, zeros replaced by the floor where logarithms are taken; and (B,) whether a row is valid.
    """
    valid = every(np.isfinite(losses))
    if method.reads_losses == "positive" or method.heads == "log":
        valid &= every(losses >= 0.0)
        return above_zero(losses), valid
    return losses, valid


def check_gram(gram: Grams) -> tuple[Grams, Mask]:
    """Return exactly symmetric Gram matrices, and which of them are valid.

    :param gram: (B, K, K) inner products.
    :returns: (B, K, K) the matrices' means with their transposes; and (B,) whether a matrix holds inner products.
    """
    transposed = gram.transpose(0, 2, 1)
    with np.errstate(all="ignore"):
        diagonal = diagonals(gram)
        lengths = np.sqrt(diagonal)  # NaN where negative, and NaN passes no comparison
        bound = outer(lengths)
        symmetric = np.abs(gram - transposed) <= SLACK * bound
        bounded = np.abs(gram) - bound <= SLACK * bound
        mean = (gram + transposed) / 2.0
    valid = every((symmetric & bounded & np.isfinite(mean)).reshape(len(gram), -1))
    return mean, valid


def reason(method: Method, losses: Vector | None, gram: Matrix | None) -> Exception:
    """Return the error that the single call raises for the inputs of one problem.

    :param method: the method.
    :param losses: (K,) losses that may not be valid.
    :param gram: (K, K) inner products that may not be valid.
    """
    try:
        observe(method, losses=losses, gram=gram)
    except UsageError as error:
        return error
    return UsageError(f"method {method.name}: the input is not valid")
