"""Layout of parameters, one after another, in a vector of P numbers."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mtlbench.errors import UsageError


def views(flat: torch.Tensor, like: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Return views of a flat vector, one per parameter and of its shape.

    :param flat: (P,) numbers.
    :param like: the parameters, of P numbers in total.
    """
    pieces = torch.split(flat, [parameter.numel() for parameter in like])
    return [piece.view(parameter.shape) for piece, parameter in zip(pieces, like, strict=True)]


def columns(shared: Sequence[torch.Tensor], chosen: Sequence[torch.Tensor]) -> list[tuple[int, int]]:
    """Return the half-open ranges that some of the shared parameters take in the vector.

    :param shared: all parameters, in the order of the vector.
    :param chosen: the parameters to locate.
    :raises UsageError: when a chosen parameter is not shared.
    """
    numbers = {id(parameter) for parameter in chosen}
    ranges, start = [], 0
    for parameter in shared:
        if id(parameter) in numbers:
            ranges.append((start, start + parameter.numel()))
        start += parameter.numel()
    if len(ranges) != len(numbers):
        raise UsageError("last_shared_layer has parameters that are not among the shared ones")
    return ranges
