"""Dropout whose masks depend on seed, step, task and place alone: the same in any pack and in any engine."""

from __future__ import annotations

import torch

from mtlbench import seeds
from mtlbench.packed.pack import Pack

LEVELS = 1 << 16
"""A number is dropped by 16 random bits of its own, so p is rounded to a multiple of 2⁻¹⁶: a random word decides on
four numbers, which takes a fifth of the time of torch's Bernoulli draws on a CPU."""


def dropped(inputs: torch.Tensor, p: float, pack: Pack, site: int) -> torch.Tensor:
    """Return inputs with dropout: (1, T, width) or (S, width), a task's rows masked by the task's own generator.

    :param site: number of the dropout layer in the model.
    """
    if pack.seeds is None:
        return inputs
    width = inputs.shape[-1]
    ranges = pack.ranges(inputs.numel() // width)
    kept = torch.cat(
        [
            _kept(seed, site, (last - first) * width, p, inputs.device)
            for seed, (first, last) in zip(pack.seeds, ranges, strict=True)
        ]
    )
    return inputs * _factors(kept, p, inputs).view(inputs.shape)


def attention_masks(pack: Pack, p: float, site: int, like: torch.Tensor) -> list[torch.Tensor]:
    """Return the masks of attention weights, (heads, n, L, L) for each group; those of padding mean nothing.

    Each task draws heads · Σ l² numbers for its sequences in order, head by head.

    :param like: (T, heads, width), for number of heads, precision and device.
    """
    assert pack.seeds is not None
    heads, squares = like.shape[1], pack.lengths**2
    sizes = [int(squares[first:last].sum()) for first, last in pack.sequence_ranges]
    kept = torch.cat(
        [
            _kept(seed, site, heads * size, p, like.device).view(heads, size)
            for seed, size in zip(pack.seeds, sizes, strict=True)
        ],
        dim=1,
    )

    return [
        _factors(kept.index_select(1, places), p, like).view(heads, *group.tokens.shape, group.tokens.shape[1])
        for group, places in zip(pack.groups, pack.squares, strict=True)
    ]


def _kept(seed: int, site: int, size: int, p: float, device: torch.device) -> torch.Tensor:
    """Draw whether each of ``size`` numbers is kept, from the generator of one task's masks at one layer."""
    source = torch.Generator(device).manual_seed(seeds.derive(seed, "site", site))
    words = torch.empty((size + 3) // 4, dtype=torch.int64, device=device)
    words.random_(-(2**63), None, generator=source)  # all 64 bits
    return words.view(torch.int16)[:size] >= _threshold(p) - LEVELS // 2


def _threshold(p: float) -> int:
    return min(round(p * LEVELS), LEVELS - 1)


def _factors(kept: torch.Tensor, p: float, like: torch.Tensor) -> torch.Tensor:
    """Return 0 for what is dropped and 1/(1 − p) for what is kept: not in half precision, which would round it."""
    return kept.to(torch.promote_types(like.dtype, torch.float32)).mul_(LEVELS / (LEVELS - _threshold(p)))
