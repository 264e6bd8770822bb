"""Norm of the shared update: matching the plain sum's norm, and clipping."""

from __future__ import annotations

import torch


def norm_of(vector: torch.Tensor) -> float:
    """Return the Euclidean norm, summed in double precision: in single precision, squares underflow at 10⁻³⁸."""
    return float(torch.linalg.vector_norm(vector, dtype=torch.float64))


def sum_norm(rows: torch.Tensor) -> float:
    """Return ‖Σ gᵢ‖, summed in the order of the update, so that a plain sum is rescaled by exactly 1.

    :param rows: (K, P) the gᵢ.
    """
    total = torch.zeros_like(rows[0])
    for row in rows:
        total.add_(row)
    return norm_of(total)


def rescale(update: torch.Tensor, *, target: float | None, clip: float | None) -> float:
    """Rescale or clip an update in place. An update of zero stays zero, with factor 1.

    :param update: (P,) update.
    :param target: the norm to rescale to.
    :param clip: the largest norm allowed; ignored where there is a ``target``.
    :returns: the factor by which the update was multiplied.
    """
    limit = clip if target is None else target
    if limit is None:
        return 1.0
    norm = norm_of(update)
    if norm == 0.0:
        return 1.0
    factor = limit / norm if target is not None else min(1.0, limit / norm)
    if factor != 1.0:
        update.mul_(factor)
    return factor
