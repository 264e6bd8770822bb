"""Attention within the sequences of a pack."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from packs import packed, sequence_masks
from tiny_models import sequences
from torch import nn

from mtlbench.engine.packed.attention import packed_attention, takes_varying_lengths
from mtlbench.engine.packed.pack import Pack


def tensors(pack: Pack, heads: int = 2, width: int = 3) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return [torch.randn(1, heads, len(pack.ids), width, dtype=torch.float64, generator=random) for _ in range(3)]


def attention(pack: Pack, given: list[torch.Tensor], **options: Any) -> torch.Tensor:
    module = nn.Module()
    module.dropout_site = 5  # type: ignore[assignment]
    return packed_attention(module, *given, None, pack=pack, **options)[0]  # type: ignore[arg-type]


def naive(
    given: list[torch.Tensor],
    first: int,
    last: int,
    scale: float,
    mask: torch.Tensor | float,
    window: int | None = None,
) -> torch.Tensor:
    """Return one sequence's (l, heads, width) attention by the formula."""
    query, key, value = (tensor[0, :, first:last] for tensor in given)
    scores = torch.einsum("hqw,hkw->hqk", query, key) * scale
    if window is not None:
        places = torch.arange(last - first)
        scores = scores.masked_fill((places[:, None] - places).abs() >= window, -torch.inf)
    return torch.einsum("hqk,hkw->qhw", scores.softmax(-1) * mask, value)


@pytest.mark.parametrize("scaling", [None, 0.7])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("window", [None, 1, 2, 5, 39, 40, 1000])
def test_attention_stays_within_sequences(scaling: float | None, dropout: float, window: int | None) -> None:
    pack = packed([0, 1, 2])
    given = tensors(pack)
    actual = attention(pack, given, scaling=scaling, dropout=dropout, sliding_window=window)[0]
    masks: dict[int, torch.Tensor | float] = dict.fromkeys(range(len(pack.lengths)), 1.0)
    if dropout:
        masks |= sequence_masks(pack, dropout, 5, given[0][0].transpose(0, 1))
    for sequence, (first, last) in enumerate(zip(pack.starts, pack.starts[1:], strict=False)):
        reference = naive(given, int(first), int(last), scaling or 3**-0.5, masks[sequence], window)
        torch.testing.assert_close(actual[first:last], reference, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_padding_outside_of_every_window_spoils_no_gradient(dropout: float) -> None:
    """Texts of 26 and 32 tokens are padded together: with a window of 2, the last places would see no token."""
    pack = Pack.of([sequences([26, 32])], "cpu", (1,))
    assert [group.longest for group in pack.groups] == [32]
    given = [tensor.requires_grad_() for tensor in tensors(pack)]
    attention(pack, given, dropout=dropout, sliding_window=2).square().sum().backward()
    assert all(bool(tensor.grad.isfinite().all()) for tensor in given if tensor.grad is not None)


def test_masks_of_windows_are_made_once_a_pack() -> None:
    pack = packed([0, 1, 2])
    queries = pack.all_queries
    assert queries.allowed(3) is queries.allowed(3)
    shapes = [None if mask is None else mask.shape for mask in queries.allowed(3)]
    assert shapes == [(1, 4, 1, 3), (1, 2, 7, 7), (1, 2, 13, 13), (1, 1, 30, 30), (1, 1, 40, 40)]
    assert queries.allowed(39)[-1] is None and queries.allowed(38)[-1] is not None  # the longest text alone
    assert [mask.shape for mask in pack.first_queries.allowed(3) if mask is not None][-1] == (1, 1, 1, 40)


def test_attention_drops_nothing_without_seeds() -> None:
    pack = packed([0, 1, 2], seeds=False)
    given = tensors(pack)
    torch.testing.assert_close(attention(pack, given, dropout=0.5), attention(pack, given), rtol=0, atol=0)


def test_attention_by_the_kernel_for_varying_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel needs a GPU: here a slow one with its interface stands in, and is given what it documents."""
    calls = []

    def kernel(query: Any, key: Any, value: Any, ends: Any, same: Any, most: int, too: int, *, scale: Any) -> Any:
        assert ends is same and ends.dtype == torch.int32 and most == too == int(ends.diff().max())
        calls.append(scale)
        pieces = [
            naive([row.transpose(0, 1)[None] for row in (query, key, value)], int(a), int(b), scale or 3**-0.5, 1.0)
            for a, b in pairwise(ends)
        ]
        return torch.cat(pieces)

    pack = packed([0, 1, 2], seeds=False)
    given = tensors(pack)
    reference = [attention(pack, given, scaling=scaling) for scaling in (None, 0.7)]
    monkeypatch.setattr("mtlbench.engine.packed.attention.varlen_attn", kernel)
    assert not takes_varying_lengths(given[0][0])  # not on a CPU
    monkeypatch.setattr("mtlbench.engine.packed.attention.takes_varying_lengths", lambda rows: True)
    actual = [attention(pack, given, scaling=scaling) for scaling in (None, 0.7)]
    assert calls == [None, 0.7]
    torch.testing.assert_close(actual, reference, rtol=1e-12, atol=1e-12)
    attention(packed([0, 1, 2]), given, dropout=0.4)
    assert len(calls) == 2  # masks of our own need the other way
    attention(pack, given, sliding_window=40)
    assert len(calls) == 3  # no text is longer
