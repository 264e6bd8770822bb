"""Which tokens ask in attention: all of a pack, or the first of every sequence."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from mtlbench.engine.packed.padding import PaddedGroup, moved


class Queries:
    """The rows of queries, and where they and their masks stand in the padded groups that attention works on.

    :param lengths: (S,) tokens of each sequence.
    :param groups: the sequences that are padded together.
    :param device: where the numbers go.
    :param first: whether there is one row a sequence, its first token's, in place of one row a token.
    """

    def __init__(
        self, lengths: NDArray[np.int64], groups: Sequence[PaddedGroup], device: torch.device, *, first: bool
    ) -> None:
        self._lengths, self._groups, self._device = lengths, groups, device
        self._asking = np.ones_like(lengths) if first else lengths
        self._starts: NDArray[np.int64] = np.cumsum(self._asking) - self._asking

    @property
    def pairs(self) -> NDArray[np.int64]:
        """(S,) pairs of a query and a key of each sequence."""
        return self._asking * self._lengths

    @cached_property
    def most(self) -> int:
        """The most queries of a sequence."""
        return int(self._asking.max())

    @cached_property
    def ends(self) -> torch.Tensor:
        """(S + 1,) number of each sequence's first row, and of all rows, in 32 bits."""
        return self._moved(np.concatenate([[0], np.cumsum(self._asking)]).astype(np.int32))

    @cached_property
    def shapes(self) -> list[tuple[int, int]]:
        """For each group, its sequences and the most queries of one: the (n, Q) places of its queries."""
        return [real.shape for _, real in self._places]

    @cached_property
    def rows(self) -> torch.Tensor:
        """The row at every place, group after group; a place of padding repeats the sequence's first row."""
        return self._moved(np.concatenate([np.where(real, rows, rows[:, :1]).ravel() for rows, real in self._places]))

    @cached_property
    def places(self) -> torch.Tensor:
        """The place of every row."""
        real = np.flatnonzero(np.concatenate([real.ravel() for _, real in self._places]))
        return self._moved(real[np.argsort(np.concatenate([rows[real] for rows, real in self._places]))])

    @cached_property
    def masks(self) -> list[torch.Tensor]:
        """For each group, (n · Q · L): where a pair of its places stands among the pairs of all sequences, one sequence
        after another; a pair with padding stands where its sequence's first does."""
        starts, found = np.cumsum(self.pairs) - self.pairs, []
        for group, (rows, real) in zip(self._groups, self._places, strict=True):
            lengths = self._lengths[group.sequences][:, None, None]
            row, column = np.ogrid[: rows.shape[1], : group.longest]
            inside = real[:, :, None] & (column < lengths)
            found.append((starts[group.sequences][:, None, None] + np.where(inside, row * lengths + column, 0)).ravel())
        return [self._moved(one) for one in found]

    @cached_property
    def _places(self) -> list[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
        """For each group, (n, Q) row numbers, and which of the places are no padding."""
        found = []
        for group in self._groups:
            place = np.arange(self._asking[group.sequences].max())
            rows = self._starts[group.sequences][:, None] + place
            found.append((rows, place < self._asking[group.sequences][:, None]))
        return found

    def _moved(self, array: NDArray[np.generic]) -> torch.Tensor:
        return moved(array, self._device)
