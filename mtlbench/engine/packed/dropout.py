"""Dropout masks that depend only on seed, step, task and position: equal in every pack and engine."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch

from mtlbench import seeds
from mtlbench.engine.packed.pack import Pack
from mtlbench.engine.packed.queries import Queries

LEVELS = 1 << 16
"""Each number is kept or dropped by 16 random bits, so p is rounded to a multiple of 2⁻¹⁶. One random word decides on
four numbers, which takes a third of the time of torch's Bernoulli draws on a CPU."""


def dropped(inputs: torch.Tensor, p: float, pack: Pack, site: int) -> torch.Tensor:
    """Return inputs with dropout, each task's rows masked by the task's own generator.

    :param inputs: (1, T, width) or (S, width).
    :param p: probability of dropping a number.
    :param pack: the pack of the rows; without seeds, nothing is dropped.
    :param site: number of the dropout layer in the model.
    """
    if pack.seeds is None:
        return inputs
    width = inputs.shape[-1]
    ranges = pack.ranges(inputs.numel() // width)
    kept = _kept(pack.seeds, site, [(last - first) * width for first, last in ranges], p, inputs.device)
    return inputs * _factors(torch.cat(kept), p, inputs).view(inputs.shape)


def attention_masks(pack: Pack, queries: Queries, p: float, site: int, like: torch.Tensor) -> list[torch.Tensor]:
    """Return the factors of attention weights for each group of sequences.

    Each task draws one number per head and per pair of query and key, head by head, for its sequences in order.

    :param pack: the pack of the sequences, with seeds.
    :param queries: the queries.
    :param p: probability of dropping a weight.
    :param site: number of the attention layer in the model.
    :param like: (rows, heads, width) tensor of the masks' number of heads, precision and device.
    :returns: for each group, (heads, n, Q, L) factors; those of padding are meaningless.
    """
    assert pack.seeds is not None
    heads = like.shape[1]
    sizes = [int(queries.pairs[first:last].sum()) for first, last in pack.sequence_ranges]
    drawn = _kept(pack.seeds, site, [heads * size for size in sizes], p, like.device)
    kept = torch.cat([mask.view(heads, size) for mask, size in zip(drawn, sizes, strict=True)], dim=1)
    return [
        _factors(kept.index_select(1, places), p, like).view(heads, *shape, group.longest)
        for group, shape, places in zip(pack.groups, queries.shapes, queries.masks, strict=True)
    ]


def _kept(
    task_seeds: Sequence[int], site: int, sizes: Sequence[int], p: float, device: torch.device
) -> list[torch.Tensor]:
    """Draw which of each task's numbers are kept, from the generator of the task's masks at one layer."""
    ends = np.cumsum([0, *((size + 3) // 4 for size in sizes)])
    words, source = torch.empty(int(ends[-1]), dtype=torch.int64, device=device), torch.Generator(device)
    for seed, (first, last) in zip(task_seeds, pairwise(ends), strict=True):
        words[first:last].random_(-(2**63), None, generator=source.manual_seed(seeds.derive(seed, "site", site)))
    kept = words.view(torch.int16) >= _threshold(p) - LEVELS // 2
    return [kept[4 * first : 4 * first + size] for first, size in zip(ends[:-1], sizes, strict=True)]


def _threshold(p: float) -> int:
    return min(round(p * LEVELS), LEVELS - 1)


def _factors(kept: torch.Tensor, p: float, like: torch.Tensor) -> torch.Tensor:
    """Return 0 for dropped and 1/(1 − p) for kept numbers, in single precision or better: half would round them."""
    return kept.to(torch.promote_types(like.dtype, torch.float32)).mul_(LEVELS / (LEVELS - _threshold(p)))
