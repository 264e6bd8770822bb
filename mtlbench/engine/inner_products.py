"""Inner products of task gradients, and their weighted sum."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from mtlbench.contract.method import Matrix

BLOCK = 65_536
"""Columns a block: K rows of it stay in cache, so the matrix is read from memory once."""


def gram(rows: torch.Tensor, columns: Sequence[tuple[int, int]] | None = None) -> Matrix:
    """Return the (K, K) Gram matrix of the rows of a (K, P) matrix, in float64 on the CPU.

    :param columns: half-open ranges of columns to take, in place of all.
    """
    return as_gram(products(rows, columns))


def products(rows: torch.Tensor, columns: Sequence[tuple[int, int]] | None = None) -> torch.Tensor:
    """Return the (K, K) inner products of the rows, in float64 where the rows are.

    Products within a block are in the rows' own precision, sums over blocks in float64.
    """
    total = torch.zeros(len(rows), len(rows), dtype=torch.float64, device=rows.device)
    for first, last in [(0, rows.shape[1])] if columns is None else columns:
        whole = (last - first) // BLOCK
        if whole:  # one product for all blocks, which also spreads them over threads
            blocks = rows[:, first : first + whole * BLOCK].reshape(len(rows), whole, BLOCK).transpose(0, 1)
            total += torch.bmm(blocks, blocks.transpose(1, 2)).sum(dim=0, dtype=torch.float64)
        rest = rows[:, first + whole * BLOCK : last]
        total += (rest @ rest.T).double()
    return total


def as_gram(total: torch.Tensor) -> Matrix:
    """Bring added-up inner products to the CPU, symmetric and within the norms' bounds despite rounding."""
    result: Matrix = total.cpu().numpy()
    result = (result + result.T) / 2.0
    squares = np.clip(np.diagonal(result), 0.0, None)
    lengths = np.sqrt(squares)
    with np.errstate(invalid="ignore"):  # infinity · 0, where a gradient overflowed: the diagonal tells of it
        bound = np.outer(lengths, lengths)
    # squares of single precision end at 10⁻³⁸, so a tiny gradient may have products with others, but no norm
    result = np.where(np.abs(result) > 1.001 * bound, np.sign(result) * bound, result)
    np.fill_diagonal(result, squares)
    return result


def gram_between(first: torch.Tensor, second: torch.Tensor) -> Matrix:
    """Return the (K, K) inner products between the rows of two (K, P) matrices, summed as in :func:`gram`."""
    total = torch.zeros(len(first), len(second), dtype=torch.float64, device=first.device)
    for start in range(0, first.shape[1], BLOCK):
        total += (first[:, start : start + BLOCK] @ second[:, start : start + BLOCK].T).double()
    result: Matrix = total.cpu().numpy()
    return result


def gram_of_pieces(pieces: Sequence[Sequence[tuple[torch.Tensor, torch.Tensor]]]) -> Matrix:
    """Return the (K, K) inner products of K gradients, each given as pairs of a tensor and the gradient for it.

    Gradients for different tensors are orthogonal: tasks whose batches differ share no representation.
    """
    result = np.zeros((len(pieces), len(pieces)))
    for i, one in enumerate(pieces):
        for j, other in enumerate(pieces[: i + 1]):
            of = {id(tensor): gradient for tensor, gradient in other}
            shared = [(gradient, of[id(tensor)]) for tensor, gradient in one if id(tensor) in of]
            result[i, j] = result[j, i] = sum(float((a.double() * b.double()).sum()) for a, b in shared)
    return result


def cosines(gram_matrix: Matrix) -> Matrix:
    """Return the (K, K) cosines between task gradients; NaN where a gradient is zero."""
    norms = np.sqrt(np.diagonal(gram_matrix))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.clip(gram_matrix / np.outer(norms, norms), -1.0, 1.0)
