"""The norm of the shared update: brought to the plain sum's, or clipped."""

from __future__ import annotations

import torch


def norm_of(vector: torch.Tensor) -> float:
    """Return the Euclidean norm, added up in double precision: squares of single precision would end at 10⁻³⁸."""
    return float(torch.linalg.vector_norm(vector, dtype=torch.float64))


def sum_norm(rows: torch.Tensor) -> float:
    """Return ‖Σ gᵢ‖, added up in the order of the update, so that the plain sum is rescaled by exactly 1."""
    total = torch.zeros_like(rows[0])
    for row in rows:
        total.add_(row)
    return norm_of(total)


def rescale(update: torch.Tensor, *, wanted: float | None, clip: float | None) -> float:
    """Multiply an update in place, and return the factor; an update of zero stays zero, with factor 1.

    :param wanted: the norm to bring it to.
    :param clip: in place of that: the norm that it may have at most.
    """
    limit = clip if wanted is None else wanted
    if limit is None:
        return 1.0
    norm = norm_of(update)
    if norm == 0.0:
        return 1.0
    factor = limit / norm if wanted is not None else min(1.0, limit / norm)
    if factor != 1.0:
        update.mul_(factor)
    return factor
