"""Attention within each sequence of a pack, as a function that transformers' models call by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from mtlbench.packed.dropout import attention_masks
from mtlbench.packed.pack import Group, Pack

try:
    from torch.nn.attention.varlen import varlen_attn
except ImportError:  # torch before 2.10
    varlen_attn = None  # type: ignore[assignment]

NAME = "mtlbench_packed"


def register() -> None:
    """Make the function known to transformers under :data:`NAME`; it takes no mask but the pack's own."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    AttentionInterface.register(NAME, packed_attention)
    AttentionMaskInterface.register(NAME, lambda *_, **__: None)


def packed_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    pack: Pack,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Return the attention's output, (1, T, heads, width), for queries, keys and values of (1, heads, T, width).

    :param pack: whose tokens they are; its seeds decide what is dropped.
    """
    rows = q, k, v = tuple(tensor[0].transpose(0, 1) for tensor in (query, key, value))  # (T, heads, width)
    masks: Sequence[torch.Tensor | None] = [None] * len(pack.groups)
    if dropout > 0.0 and pack.seeds is not None:
        masks = attention_masks(pack, dropout, module.dropout_site, q)  # type: ignore[arg-type]
    elif takes_varying_lengths(q):
        longest = int(pack.lengths.max())
        output = varlen_attn(q, k, v, pack.ends, pack.ends, longest, longest, scale=scaling)
        assert isinstance(output, torch.Tensor)
        return output.unsqueeze(0), None
    pieces = [_attend(rows, group, scaling, mask) for group, mask in zip(pack.groups, masks, strict=True)]
    return torch.cat(pieces).index_select(0, pack.restored).unsqueeze(0), None


def takes_varying_lengths(rows: torch.Tensor) -> bool:
    """Whether torch's kernel for sequences of varying lengths takes these rows: half precision on a GPU.

    It has no place for masks of our own, so it serves where no attention weight is dropped.
    """
    return varlen_attn is not None and rows.is_cuda and rows.dtype in (torch.float16, torch.bfloat16)


def _attend(
    rows: Sequence[torch.Tensor], group: Group, scaling: float | None, dropped: torch.Tensor | None
) -> torch.Tensor:
    """Return the (t, heads, width) output of a group's tokens, in the order of ``group.inside``."""
    count, longest = group.tokens.shape
    query, key, value = (  # (heads, n, L, width)
        row.index_select(0, group.tokens.view(-1)).view(count, longest, *row.shape[1:]).permute(2, 0, 1, 3)
        for row in rows
    )
    allowed = None if group.mask is None else group.mask[None, :, None, :]
    if dropped is None:
        output = functional.scaled_dot_product_attention(query, key, value, attn_mask=allowed, scale=scaling)
    else:
        scores = (query * (scaling if scaling is not None else query.shape[-1] ** -0.5)) @ key.transpose(2, 3)
        if allowed is not None:
            scores = scores.masked_fill(~allowed, float("-inf"))
        output = (scores.softmax(dim=-1) * dropped).to(value.dtype) @ value
    flat = output.permute(1, 2, 0, 3).reshape(count * longest, *rows[0].shape[1:])
    return flat.index_select(0, group.places)
