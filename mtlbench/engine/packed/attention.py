"""Attention within each sequence of a pack, as a function that transformers' models call by name."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from mtlbench.engine.packed.dropout import attention_masks
from mtlbench.engine.packed.first import FirstTokens
from mtlbench.engine.packed.pack import Pack
from mtlbench.engine.packed.queries import Queries

try:
    from torch.nn.attention.varlen import varlen_attn
except ImportError:  # torch before 2.10
    varlen_attn = None  # type: ignore[assignment]

KERNEL_HAS_WINDOWS = varlen_attn is not None and "window_size" in inspect.signature(varlen_attn).parameters
NAME = "mtlbench_packed"


def register() -> None:
    """Register :func:`packed_attention` with transformers under :data:`NAME`, without attention masks."""
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
    sliding_window: int | None = None,
    pack: Pack,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Return the output of attention within each sequence.

    There is one row per token; in the layer that :class:`FirstTokens` restricts, there is one row per sequence, and the
    keys and values of all tokens come from that class.

    :param module: the attention layer.
    :param query: (1, heads, rows, width) queries.
    :param key: (1, heads, rows, width) keys.
    :param value: (1, heads, rows, width) values.
    :param attention_mask: not used: the pack knows the sequences.
    :param dropout: probability of dropping an attention weight.
    :param scaling: factor of the scores; ``None`` for 1/√width.
    :param sliding_window: least distance, in tokens, at which a query does not see a key; ``None`` for no limit.
    :param pack: the pack of the tokens; its seeds decide which weights are dropped.
    :returns: (1, rows, heads, width) output, and ``None`` for the attention weights.
    """
    q, k, v = (tensor[0].transpose(0, 1) for tensor in (query, key, value))  # (rows, heads, width)
    first: FirstTokens | None = getattr(module, "first_tokens", None)
    if first is not None:
        k, v = first.take(*q.shape[1:])
    queries = pack.all_queries if first is None else pack.first_queries
    longest = int(pack.lengths.max())
    window = None if sliding_window is None or sliding_window >= longest else sliding_window - 1
    masks: Sequence[torch.Tensor | None] = [None] * len(pack.groups)
    if dropout > 0.0 and pack.seeds is not None:
        masks = attention_masks(pack, queries, dropout, module.dropout_site, q)  # type: ignore[arg-type]
    elif takes_varying_lengths(q) and (window is None or (KERNEL_HAS_WINDOWS and first is None)):
        options: dict[str, Any] = {} if window is None else {"window_size": (window, window)}
        ends = queries.ends, pack.all_queries.ends
        output = varlen_attn(q, k, v, *ends, queries.most, longest, scale=scaling, **options)
        assert isinstance(output, torch.Tensor)
        return output.unsqueeze(0), None
    keys = pack.all_queries
    grouped = zip(_spread(q, queries), _spread(k, keys), _spread(v, keys), queries.allowed(window), masks, strict=True)
    places = torch.cat([_attend(*group, scaling).flatten(0, 1) for group in grouped])
    return _Gather.apply(places, queries.places).unsqueeze(0), None  # type: ignore[no-untyped-call]


def takes_varying_lengths(rows: torch.Tensor) -> bool:
    """Return whether torch's kernel for sequences of varying lengths supports these rows: half precision on a GPU.

    The kernel takes no dropout masks, so it is used only where no attention weight is dropped. Its windows assume as
    many queries as keys, so a window over first tokens alone goes the other way.

    :param rows: queries, keys or values.
    """
    return varlen_attn is not None and rows.is_cuda and rows.dtype in (torch.float16, torch.bfloat16)


def _spread(rows: torch.Tensor, queries: Queries) -> list[torch.Tensor]:
    """Arrange (rows, heads, width) by the places of each group, as (heads, n, Q, width)."""
    places: torch.Tensor = _Spread.apply(rows, queries.rows, queries.places)  # type: ignore[no-untyped-call]
    groups = torch.split(places, [count * most for count, most in queries.shapes])
    return [
        group.view(*shape, *rows.shape[1:]).permute(2, 0, 1, 3)
        for group, shape in zip(groups, queries.shapes, strict=True)
    ]


def _attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    allowed: torch.Tensor | None,
    dropped: torch.Tensor | None,
    scaling: float | None,
) -> torch.Tensor:
    """Return a group's (n, Q, heads, width) output, for inputs of shape (heads, n, Q or L, width)."""
    if dropped is None:
        output = functional.scaled_dot_product_attention(query, key, value, attn_mask=allowed, scale=scaling)
    else:
        scores = (query * (scaling if scaling is not None else query.shape[-1] ** -0.5)) @ key.transpose(2, 3)
        if allowed is not None:
            scores = scores.masked_fill(~allowed, float("-inf"))
        output = (scores.softmax(dim=-1) * dropped).to(value.dtype) @ value
    return output.permute(1, 2, 0, 3)


class _Spread(torch.autograd.Function):
    """Map rows to places. The gradient at padding is 0, so the backward needs no sum: it reads one place per row."""

    @staticmethod
    def forward(ctx: Any, rows: Any, row_of_place: Any, place_of_row: Any) -> Any:
        ctx.place_of_row = place_of_row
        return rows.index_select(0, row_of_place)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Any) -> Any:
        return gradient.index_select(0, ctx.place_of_row), None, None


class _Gather(torch.autograd.Function):
    """Map places to rows, without padding."""

    @staticmethod
    def forward(ctx: Any, places: Any, place_of_row: Any) -> Any:
        ctx.place_of_row, ctx.count = place_of_row, len(places)
        return places.index_select(0, place_of_row)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Any) -> Any:
        return gradient.new_zeros(ctx.count, *gradient.shape[1:]).index_copy_(0, ctx.place_of_row, gradient), None
