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
    if target is None and clip is None:
        return 1.0
    factor = factor_for(norm_of(update), target=target, clip=clip)
    if factor != 1.0:
        update.mul_(factor)
    return factor


def factor_for(norm: float, *, target: float | None, clip: float | None) -> float:
    """Return the factor that brings an update to a norm, or below a largest one; 1 for an update of zero.

    :param norm: the update's norm.
    :param target: as for :func:`rescale`.
    :param clip: as for :func:`rescale`.
    """
    limit = clip if target is None else target
    if limit is None or norm == 0.0:
        return 1.0
    return limit / norm if target is not None else min(1.0, limit / norm)
