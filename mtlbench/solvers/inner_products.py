"""Inner products of task gradients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from mtlbench.contract.observation import Matrix

BLOCK = 65_536
"""Columns per block: K rows of a block fit into the cache, so the matrix is read from memory once."""


def gram(rows: torch.Tensor, columns: Sequence[tuple[int, int]] | None = None) -> Matrix:
    """Return the (K, K) Gram matrix of the rows of a (K, P) matrix, in float64 on the CPU.

    :param rows: (K, P) task gradients.
    :param columns: half-open ranges of columns to include; ``None`` for all.
    """
    return as_gram(products(rows, columns))


def products(rows: torch.Tensor, columns: Sequence[tuple[int, int]] | None = None) -> torch.Tensor:
    """Return the (K, K) inner products of the rows of a (K, P) matrix, in float64 on the rows' device.

    Products within a block are in the rows' own precision, sums over blocks in float64.

    :param rows: (K, P) task gradients.
    :param columns: half-open ranges of columns to include; ``None`` for all.
    :returns: a tensor; rounding may leave it slightly asymmetric, see :func:`as_gram`.
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
    """Return inner products as a Gram matrix on the CPU, symmetric and within the norms' bounds despite rounding.

    :param total: (K, K) sums of :func:`products`.
    """
    result: Matrix = total.cpu().numpy()
    result = (result + result.T) / 2.0
    squares = np.clip(np.diagonal(result), 0.0, None)
    lengths = np.sqrt(squares)
    with np.errstate(invalid="ignore"):  # infinity · 0 where a gradient overflowed, which shows on the diagonal
        bound = np.outer(lengths, lengths)
    # single precision ends at 10⁻³⁸: a tiny gradient may have nonzero products with others, but a norm of 0
    result = np.where(np.abs(result) > 1.001 * bound, np.sign(result) * bound, result)
    np.fill_diagonal(result, squares)
    return result


def gram_between(first: torch.Tensor, second: torch.Tensor) -> Matrix:
    """Return the (K, K) inner products between the rows of two matrices, summed as in :func:`products`.

    :param first: (K, P) task gradients of one batch.
    :param second: (K, P) task gradients of another batch.
    """
    total = torch.zeros(len(first), len(second), dtype=torch.float64, device=first.device)
    for start in range(0, first.shape[1], BLOCK):
        total += (first[:, start : start + BLOCK] @ second[:, start : start + BLOCK].T).double()
    result: Matrix = total.cpu().numpy()
    return result


def gram_of_pieces(pieces: Sequence[Sequence[tuple[torch.Tensor, torch.Tensor]]]) -> Matrix:
    """Return the (K, K) inner products of K gradients, each in pieces for several tensors.

    Gradients with respect to different tensors are orthogonal: tasks whose batches differ share no representation.

    :param pieces: for each task, pairs of a tensor and the gradient with respect to it.
    """
    result = np.zeros((len(pieces), len(pieces)))
    for i, first in enumerate(pieces):
        for j, second in enumerate(pieces[: i + 1]):
            gradients = {id(tensor): gradient for tensor, gradient in second}
            pairs = [(gradient, gradients[id(tensor)]) for tensor, gradient in first if id(tensor) in gradients]
            result[i, j] = result[j, i] = sum(float((a.double() * b.double()).sum()) for a, b in pairs)
    return result


def cosines(gram_matrix: Matrix) -> Matrix:
    """Return the (K, K) cosines between task gradients; NaN where a gradient is zero.

    :param gram_matrix: (K, K) inner products.
    """
    norms = np.sqrt(np.diagonal(gram_matrix))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.clip(gram_matrix / np.outer(norms, norms), -1.0, 1.0)
