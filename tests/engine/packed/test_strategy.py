"""Which way to inner products is chosen, by the sizes of model and batch."""

from __future__ import annotations

import pytest
from torch import nn

from mtlbench.engine.packed.layout import Layout
from mtlbench.engine.packed.strategy import Strategy, portions

MINILM = (384, 1536, 6, 30_522)
BASE = (768, 3072, 12, 30_522)


def layout(width: int, inner: int, layers: int, words: int) -> Layout:
    """Return the layout of an encoder's matrices, without memory."""
    shapes = [*[(width, width)] * 4, (width, inner), (inner, width)] * layers
    dense = [nn.Parameter(nn.Linear(*shape, bias=False, device="meta").weight) for shape in shapes]
    table = nn.Embedding(words, width, device="meta").weight
    return Layout([*dense, table], [table])


@pytest.mark.parametrize(
    ("model", "tasks", "tokens", "lean", "keeps"),
    [
        (MINILM, 3, 660, False, True),  # batch 8
        (MINILM, 3, 2_700, False, False),
        (MINILM, 24, 660, True, True),  # a row a task
        (MINILM, 24, 2_700, False, False),
        (MINILM, 64, 14_000, True, False),  # no room for the buffer
        (BASE, 3, 660, False, True),
        (BASE, 8, 1_800, False, False),
        (BASE, 16, 3_500, True, False),
    ],
)
def test_sizes_decide(model: tuple[int, int, int, int], tasks: int, tokens: int, lean: bool, keeps: bool) -> None:
    assert Strategy.choose(layout(*model), tasks, tokens).lean is lean
    for reference in (False, True):
        way = Strategy.choose(layout(*model), tasks, tokens, reference)
        assert (way.lean, way.keeps) == (reference, keeps)


def test_portions_have_so_many_tokens_or_one_task() -> None:
    ranges = [(0, 4), (4, 9), (9, 9), (9, 30), (30, 31)]
    assert portions(ranges, 10) == [[0, 1, 2], [3], [4]]
    assert portions(ranges, 1) == [[0], [1], [2], [3], [4]]
    assert portions(ranges, 100) == [[0, 1, 2, 3, 4]]
