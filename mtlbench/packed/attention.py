"""Attention within each sequence of a pack, as a function that transformers' models call by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from mtlbench.packed.dropout import attention_masks
from mtlbench.packed.first import FirstTokens
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
    """Return the attention's output, (1, rows, heads, width), for queries, keys and values of (1, heads, rows, width).

    There is one row a token; or one a sequence where the module is that of :class:`FirstTokens`, which has the keys
    and values of all tokens then.

    :param pack: whose tokens they are; its seeds decide what is dropped.
    """
    q, k, v = (tensor[0].transpose(0, 1) for tensor in (query, key, value))  # (rows, heads, width)
    first: FirstTokens | None = getattr(module, "first_tokens", None)
    if first is not None:
        k, v = (whole.view(-1, *q.shape[1:]) for whole in first.take())
    queries = pack.all_queries if first is None else pack.first_queries
    masks: Sequence[torch.Tensor | None] = [None] * len(pack.groups)
    if dropout > 0.0 and pack.seeds is not None:
        masks = attention_masks(pack, queries, dropout, module.dropout_site, q)  # type: ignore[arg-type]
    elif takes_varying_lengths(q):
        longest = int(pack.lengths.max())
        output = varlen_attn(q, k, v, queries.ends, pack.all_queries.ends, queries.most, longest, scale=scaling)
        assert isinstance(output, torch.Tensor)
        return output.unsqueeze(0), None
    pieces = [
        _attend(q, k, v, rows, group, scaling, mask).index_select(0, places)
        for rows, places, group, mask in zip(queries.rows, queries.places, pack.groups, masks, strict=True)
    ]
    return torch.cat(pieces).index_select(0, queries.restored).unsqueeze(0), None


def takes_varying_lengths(rows: torch.Tensor) -> bool:
    """Whether torch's kernel for sequences of varying lengths takes these rows: half precision on a GPU.

    It has no place for masks of our own, so it serves where no attention weight is dropped.
    """
    return varlen_attn is not None and rows.is_cuda and rows.dtype in (torch.float16, torch.bfloat16)


def _attend(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    rows: torch.Tensor,
    group: Group,
    scaling: float | None,
    dropped: torch.Tensor | None,
) -> torch.Tensor:
    """Return the (n · Q, heads, width) output at the places of a group's queries."""
    query, key, value = (  # (heads, n, Q or L, width)
        row.index_select(0, places.view(-1)).view(*places.shape, *row.shape[1:]).permute(2, 0, 1, 3)
        for row, places in ((q, rows), (k, group.tokens), (v, group.tokens))
    )
    allowed = None if group.mask is None else group.mask[None, :, None, :]
    if dropped is None:
        output = functional.scaled_dot_product_attention(query, key, value, attn_mask=allowed, scale=scaling)
    else:
        scores = (query * (scaling if scaling is not None else query.shape[-1] ** -0.5)) @ key.transpose(2, 3)
        if allowed is not None:
            scores = scores.masked_fill(~allowed, float("-inf"))
        output = (scores.softmax(dim=-1) * dropped).to(value.dtype) @ value
    return output.permute(1, 2, 0, 3).reshape(rows.numel(), *q.shape[1:])
