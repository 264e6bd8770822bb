"""Inner products of task gradients.

Squares in single precision vanish below 10⁻³⁸ and overflow above 10³⁸: a gradient of norm 10⁻²⁵ has a square of 0.
Where the results show that this may have happened, the gradients themselves are examined; if it did happen, their
products are computed again in double precision, block by block. Otherwise there is no further pass over memory, and no
bit changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from mtlbench.contract.observation import Matrix, Vector

BLOCK = 65_536
"""Columns per block: K rows of a block fit into the cache, so the matrix is read from memory once."""
CONVERTED = 8
"""Blocks to convert to another precision at a time: a copy of the whole matrix might not fit into memory."""
RANGE = 2.0**-126 / 2.0**-24
"""A product in single precision loses at most 2⁻¹²⁶ by underflow. So P products that sum to P times this number or more
lose at most 2⁻²⁴ of the sum, which is as much as rounding."""

Columns = Sequence[tuple[int, int]]
"""Half-open ranges of columns."""
Part = tuple[torch.Tensor, Columns]
"""A matrix with one row per task, and its columns to include."""


def gram(rows: torch.Tensor, columns: Columns | None = None) -> Matrix:
    """Return the (K, K) Gram matrix of the rows of a (K, P) matrix, in float64 on the CPU.

    :param rows: (K, P) task gradients.
    :param columns: half-open ranges of columns to include; ``None`` for all.
    """
    part = (rows, [(0, rows.shape[1])] if columns is None else columns)
    return gram_of_parts(lambda: [part])


def gram_of_parts(parts: Callable[[], Iterable[Part]]) -> Matrix:
    """Return the (K, K) Gram matrix of gradients that lie in several matrices, in float64 on the CPU.

    :param parts: returns the parts, of which one is held at a time. It is called again where single precision may not
        have been enough.
    """
    total, size, exact = torch.zeros(()), 0, True
    for rows, columns in parts():
        total = total + products(rows, columns)
        size += sum(last - first for first, last in columns)
        exact = exact and rows.dtype == torch.float64
    result = as_gram(total)
    squares = np.diagonal(result)
    doubtful = np.flatnonzero(~np.isfinite(squares) | (squares < size * RANGE))
    if exact or not len(doubtful):
        return result
    largest = _largest(parts(), doubtful)
    if not (np.isfinite(largest) & (largest > 0.0)).any():  # rows of zeros, NaN or infinity: no precision helps
        return result
    return as_gram(sum((products(*part, dtype=torch.float64) for part in parts()), torch.zeros(())))


def _largest(parts: Iterable[Part], tasks: NDArray[np.intp]) -> Vector:
    """Return the largest magnitude in the gradient of each of some tasks; NaN where the gradient has one."""
    found = [
        torch.stack([torch.linalg.vector_norm(rows[task, first:last], ord=torch.inf) for task in tasks.tolist()])
        for rows, columns in parts
        for first, last in columns
        if last > first
    ]
    largest: Vector = torch.stack(found).amax(dim=0).double().cpu().numpy()
    return largest


def products(rows: torch.Tensor, columns: Columns | None = None, dtype: torch.dtype | None = None) -> torch.Tensor:
    """Return the (K, K) inner products of the rows of a (K, P) matrix, in float64 on the rows' device.

    This does not wait for the device. Sums over blocks are in float64.

    :param rows: (K, P) task gradients.
    :param columns: half-open ranges of columns to include; ``None`` for all.
    :param dtype: the precision of products within a block; ``None`` for the rows' own, or float32 for half precision.
    :returns: a tensor; rounding may leave it slightly asymmetric, see :func:`as_gram`.
    """
    dtype = dtype or _precision(rows)
    total = torch.zeros(len(rows), len(rows), dtype=torch.float64, device=rows.device)
    for first, last in [(0, rows.shape[1])] if columns is None else columns:
        width = last - first if rows.dtype == dtype else CONVERTED * BLOCK
        for start in range(first, last, max(width, 1)):
            _add_products(total, rows[:, start : min(start + width, last)].to(dtype))
    return total


def _precision(rows: torch.Tensor) -> torch.dtype:
    return torch.float32 if rows.dtype in (torch.float16, torch.bfloat16) else rows.dtype


def _add_products(total: torch.Tensor, rows: torch.Tensor) -> None:
    whole = rows.shape[1] // BLOCK
    if whole:  # one product for all blocks, which also spreads them over threads
        blocks = rows[:, : whole * BLOCK].reshape(len(rows), whole, BLOCK).transpose(0, 1)
        total += torch.bmm(blocks, blocks.transpose(1, 2)).sum(dim=0, dtype=torch.float64)
    rest = rows[:, whole * BLOCK :]
    total += (rest @ rest.T).double()


def as_gram(total: torch.Tensor) -> Matrix:
    """Return inner products as a Gram matrix on the CPU, symmetric and within the norms' bounds despite rounding.

    :param total: (K, K) sums of :func:`products`.
    """
    result: Matrix = total.cpu().numpy()
    with np.errstate(invalid="ignore"):  # infinity − infinity or infinity · 0, where a gradient overflowed
        result = (result + result.T) / 2.0
        squares = np.clip(np.diagonal(result), 0.0, None)
        lengths = np.sqrt(squares)
        bound = np.outer(lengths, lengths)
        # single precision ends at 10⁻³⁸: a tiny gradient may have nonzero products with others, but a norm of 0
        result = np.where(np.abs(result) > 1.001 * bound, np.sign(result) * bound, result)
    np.fill_diagonal(result, squares)
    return result


def gram_between(first: torch.Tensor, second: torch.Tensor) -> Matrix:
    """Return the (K, K) inner products between the rows of two matrices, summed as in :func:`gram`.

    :param first: (K, P) task gradients of one batch.
    :param second: (K, P) task gradients of another batch.
    """
    result = _between(first, second, _precision(first))
    limit = first.shape[1] * RANGE
    doubtful = ~np.isfinite(result) | (np.abs(result) < limit)  # orthogonal rows are, too
    if first.dtype == torch.float64 or not doubtful.any():
        return result
    of_first, of_second = (np.flatnonzero(doubtful.any(axis=axis)) for axis in (1, 0))
    with np.errstate(invalid="ignore"):  # infinity · 0
        norms = np.outer(_norms(first, of_first), _norms(second, of_second))
    lost = doubtful & np.isfinite(norms) & (norms > 0.0) & (~np.isfinite(result) | (norms < limit))
    return _between(first, second, torch.float64) if lost.any() else result


def _between(first: torch.Tensor, second: torch.Tensor, dtype: torch.dtype) -> Matrix:
    total = torch.zeros(len(first), len(second), dtype=torch.float64, device=first.device)
    for start in range(0, first.shape[1], BLOCK):
        block = slice(start, start + BLOCK)
        total += (first[:, block].to(dtype) @ second[:, block].to(dtype).T).double()
    result: Matrix = total.cpu().numpy()
    return result


def _norms(rows: torch.Tensor, tasks: NDArray[np.intp]) -> Vector:
    """Return the (K,) norms of the rows of some tasks, and 0 for the others."""
    norms = torch.zeros(len(rows), dtype=torch.float64, device=rows.device)
    for task in tasks.tolist():
        norms[task] = torch.linalg.vector_norm(rows[task], dtype=torch.float64)
    result: Vector = norms.cpu().numpy()
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
