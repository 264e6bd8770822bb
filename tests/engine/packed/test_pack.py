"""Packs: where every token lies, and how attention pads them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import sequences

from mtlbench.engine.packed.pack import Pack
from mtlbench.engine.packed.padding import WASTE
from mtlbench.engine.packed.queries import Queries

CASES = {
    "one token": [[1]],
    "one task": [[3, 1, 2]],
    "one example": [[4, 2, 6], [5], [1, 1]],
    "all of length 1": [[1, 1, 1], [1, 1]],
    "all alike": [[4, 4], [4], [4, 4, 4]],
    "very different": [[1, 512, 3], [2, 90, 1, 40]],
    "24 tasks": [[1 + (7 * task + place) % 19 for place in range(1 + task % 5)] for task in range(24)],
}
cases = pytest.mark.parametrize("lengths", list(CASES.values()), ids=list(CASES))


def packed(lengths: list[list[int]]) -> Pack:
    return Pack.of([sequences(of, seed) for seed, of in enumerate(lengths)], "cpu")


@cases
def test_tokens_stand_task_after_task(lengths: list[list[int]]) -> None:
    batches = [sequences(of, seed) for seed, of in enumerate(lengths)]
    pack = Pack.of(batches, "cpu", tuple(range(len(batches))))
    assert pack.ids.tolist() == [number for batch in batches for number in batch.ids]
    assert pack.kinds.tolist() == [kind for batch in batches for kind in batch.kinds]
    assert pack.positions.tolist() == [place for of in lengths for length in of for place in range(length)]
    assert pack.lengths.tolist() == [length for of in lengths for length in of]
    assert (pack.count, pack.rows) == (len(lengths), tuple(len(of) for of in lengths))
    assert pack.seeds == tuple(range(len(batches)))


@cases
def test_ranges_are_those_of_a_loop(lengths: list[list[int]]) -> None:
    pack, tokens, rows, first_tokens = packed(lengths), [], [], []
    token = row = 0
    for of in lengths:
        tokens.append((token, token + sum(of)))
        rows.append((row, row + len(of)))
        for length in of:
            first_tokens.append(token)
            token += length
        row += len(of)
    assert (pack.token_ranges, pack.sequence_ranges) == (tokens, rows)
    assert (pack.ranges(token), pack.first_tokens.tolist()) == (tokens, first_tokens)
    assert pack.ranges(row) == rows
    assert pack.task_of_row(token).tolist() == [task for task, of in enumerate(lengths) for _ in range(sum(of))]
    assert pack.task_of_row(row).tolist() == [task for task, of in enumerate(lengths) for _ in of]
    assert pack.sequence_of_token.tolist() == np.repeat(np.arange(row), pack.lengths).tolist()
    with pytest.raises(ValueError, match=f"{token + 1} rows are neither {token} tokens nor {row} sequences"):
        pack.ranges(token + 1)


def check_masks(pack: Pack, queries: Queries) -> None:
    """Every pair of a query and a key of one sequence has a number of its own, and padding the sequence's first."""
    seen: list[int] = []
    for group, shape, masks in zip(pack.groups, queries.shapes, queries.masks, strict=True):
        of = masks.view(*shape, group.longest)
        for numbers, sequence in zip(of, group.sequences, strict=True):
            length = int(pack.lengths[sequence])
            asking = int(queries.pairs[sequence]) // length
            real, first = numbers[:asking, :length], int(queries.pairs[:sequence].sum())
            assert real.flatten().tolist() == list(range(first, first + asking * length))
            assert bool((numbers[asking:] == first).all() and (numbers[:, length:] == first).all())
            seen += real.flatten().tolist()
    assert sorted(seen) == list(range(int(queries.pairs.sum())))


def check_groups(pack: Pack) -> None:
    for queries, rows in ((pack.all_queries, len(pack.ids)), (pack.first_queries, len(pack.lengths))):
        assert len(queries.places) == len(queries.places.unique()) == rows
        assert queries.rows[queries.places].tolist() == list(range(rows))  # every row has one place
        assert len(queries.rows) == sum(count * most for count, most in queries.shapes)
        assert queries.ends.tolist() == [0, *np.cumsum(queries.pairs // pack.lengths)]
        assert queries.most == int(queries.ends.diff().max())
        check_masks(pack, queries)
    tokens = pack.all_queries.rows.split([count * most for count, most in pack.all_queries.shapes])
    chosen = np.concatenate([group.sequences for group in pack.groups])
    assert sorted(chosen.tolist()) == list(range(len(pack.lengths)))
    places = 0
    for group, shape, of in zip(pack.groups, pack.all_queries.shapes, tokens, strict=True):
        lengths = pack.lengths[group.sequences]
        assert shape == (len(lengths), group.longest) == (len(lengths), lengths.max())
        assert lengths.max() <= WASTE * lengths.min() + 2
        places += len(of)
        inside = np.arange(lengths.max()) < lengths[:, None]
        assert inside.all() if group.mask is None else group.mask.tolist() == inside.tolist()
        for row, length, sequence in zip(of.view(shape), lengths, group.sequences, strict=True):
            first = int(pack.starts[sequence])
            assert row.tolist() == [*range(first, first + length), *[first] * (len(row) - length)]
    assert places <= WASTE * len(pack.ids) + 2 * len(pack.lengths)


@cases
def test_groups_cover_every_token_once(lengths: list[list[int]]) -> None:
    check_groups(packed(lengths))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(1, 70), min_size=1, max_size=12), min_size=1, max_size=6))
def test_groups_of_any_lengths(lengths: list[list[int]]) -> None:
    check_groups(packed(lengths))


def test_sequences_of_one_length_need_no_mask() -> None:
    (group,) = packed([[4, 4], [4]]).groups
    assert group.mask is None
