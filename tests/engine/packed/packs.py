"""Packs for the tests of layers, attention and dropout."""

from __future__ import annotations

import torch
from tiny_models import sequences

from mtlbench.engine.packed.dropout import attention_masks
from mtlbench.engine.packed.pack import Pack

LENGTHS = [[5, 1, 40, 7], [3], [12, 1, 2, 13, 30]]
SEEDS = (11, 12, 13)
CLOSE = {torch.float64: 1e-10, torch.float32: 1e-5}


def packed(order: list[int], seeds: bool = True) -> Pack:
    """Return a pack of some tasks, in some order."""
    return Pack.of(
        [sequences(LENGTHS[task], task) for task in order],
        "cpu",
        tuple(SEEDS[task] for task in order) if seeds else None,
    )


def sequence_masks(pack: Pack, p: float, site: int, like: torch.Tensor) -> dict[int, torch.Tensor | float]:
    """Return each sequence's (heads, l, l) mask."""
    actual = {}
    for group, masks in zip(pack.groups, attention_masks(pack, pack.all_queries, p, site, like), strict=True):
        for place, sequence in enumerate(group.sequences):
            length = int(pack.lengths[sequence])
            actual[int(sequence)] = masks[:, place, :length, :length]
    return actual  # type: ignore[return-value]
