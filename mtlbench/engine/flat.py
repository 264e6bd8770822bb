"""Parameters laid out one after another in one vector of P numbers."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mtlbench.errors import UsageError


def views(flat: torch.Tensor, like: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Return views of a flat vector, one shaped like each parameter."""
    pieces = torch.split(flat, [parameter.numel() for parameter in like])
    return [piece.view(parameter.shape) for piece, parameter in zip(pieces, like, strict=True)]


def columns(shared: Sequence[torch.Tensor], chosen: Sequence[torch.Tensor]) -> list[tuple[int, int]]:
    """Return the half-open ranges that the chosen ones of the shared parameters take in the vector.

    :raises UsageError: when one of the chosen is not among the shared.
    """
    wanted = {id(parameter) for parameter in chosen}
    ranges, start = [], 0
    for parameter in shared:
        if id(parameter) in wanted:
            ranges.append((start, start + parameter.numel()))
        start += parameter.numel()
    if len(ranges) != len(wanted):
        raise UsageError("last_shared_layer has parameters that are not among the shared ones")
    return ranges
