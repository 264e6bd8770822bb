"""Groups of sequences that attention pads together, and copies of arrays on the device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

WASTE = 1.25
"""Largest ratio of lengths, longest to shortest, of sequences that are padded together (give or take 2 tokens)."""


@dataclass(frozen=True)
class PaddedGroup:
    """Sequences of similar length, which attention pads and processes together.

    :param sequences: (n,) their numbers in the pack.
    :param longest: number of tokens of the longest, L.
    :param mask: (n, L) whether a place is a token; ``None`` where all are.
    """

    sequences: NDArray[np.int64]
    longest: int
    mask: torch.Tensor | None


def grouped(lengths: NDArray[np.int64], device: torch.device) -> list[PaddedGroup]:
    """Sort sequences by length and split them into groups that attention pads together.

    :param lengths: (S,) number of tokens of each sequence.
    :param device: device of the masks.
    """
    order = np.argsort(lengths, kind="stable")
    groups, first = [], 0
    for last in range(1, len(order) + 1):
        if last == len(order) or lengths[order[last]] > WASTE * lengths[order[first]] + 2:
            groups.append(_group(order[first:last], lengths, device))
            first = last
    return groups


def _group(chosen: NDArray[np.int64], lengths: NDArray[np.int64], device: torch.device) -> PaddedGroup:
    longest = int(lengths[chosen].max())
    mask = np.arange(longest) < lengths[chosen][:, None]
    return PaddedGroup(chosen, longest, None if mask.all() else moved(mask, device))


def moved(array: NDArray[np.generic], device: str | torch.device) -> torch.Tensor:
    """Copy an array to a device; to a GPU from pinned memory, so that the CPU does not wait for the copy."""
    tensor = torch.from_numpy(array)
    if torch.device(device).type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
