"""Positions of the queries of attention: all tokens of a pack, or the first of every sequence."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from mtlbench.engine.packed.padding import PaddedGroup, moved


class Queries:
    """Positions of the queries, and of their masks, in the padded groups that attention computes.

    :param lengths: (S,) number of tokens of each sequence.
    :param groups: the sequences that are padded together.
    :param device: device of the positions.
    :param first: one query per sequence, its first token, in place of one per token.
    """

    def __init__(
        self, lengths: NDArray[np.int64], groups: Sequence[PaddedGroup], device: torch.device, *, first: bool
    ) -> None:
        self._lengths, self._groups, self._device = lengths, groups, device
        self._counts = np.ones_like(lengths) if first else lengths
        self._starts: NDArray[np.int64] = np.cumsum(self._counts) - self._counts
        self._allowed: dict[int | None, list[torch.Tensor | None]] = {}

    @property
    def pairs(self) -> NDArray[np.int64]:
        """(S,) number of pairs of a query and a key in each sequence."""
        return self._counts * self._lengths

    @cached_property
    def most(self) -> int:
        """Largest number of queries of a sequence."""
        return int(self._counts.max())

    @cached_property
    def ends(self) -> torch.Tensor:
        """(S + 1,) number of each sequence's first row, then the number of rows, as 32-bit integers."""
        return self._moved(np.concatenate([[0], np.cumsum(self._counts)]).astype(np.int32))

    @cached_property
    def shapes(self) -> list[tuple[int, int]]:
        """For each group, the shape (n, Q) of its places: sequences, and queries of the longest."""
        return [real.shape for _, real in self._places]

    @cached_property
    def rows(self) -> torch.Tensor:
        """Row number at every place, group after group; padding repeats the sequence's first row."""
        return self._moved(np.concatenate([np.where(real, rows, rows[:, :1]).ravel() for rows, real in self._places]))

    @cached_property
    def places(self) -> torch.Tensor:
        """Place of every row."""
        real = np.flatnonzero(np.concatenate([real.ravel() for _, real in self._places]))
        return self._moved(real[np.argsort(np.concatenate([rows[real] for rows, real in self._places]))])

    @cached_property
    def masks(self) -> list[torch.Tensor]:
        """For each group, the (n · Q · L) indices of its pairs of places among the pairs of all sequences, in order of
        sequences; a pair with padding has the index of the sequence's first pair."""
        starts, indices = np.cumsum(self.pairs) - self.pairs, []
        for group, (rows, real) in zip(self._groups, self._places, strict=True):
            lengths = self._lengths[group.sequences][:, None, None]
            row, column = np.ogrid[: rows.shape[1], : group.longest]
            inside = real[:, :, None] & (column < lengths)
            indices.append(
                (starts[group.sequences][:, None, None] + np.where(inside, row * lengths + column, 0)).ravel()
            )
        return [self._moved(index) for index in indices]

    def allowed(self, window: int | None) -> list[torch.Tensor | None]:
        """Return which keys each group's queries see: (1, n or 1, Q or 1, L) each, or ``None`` where they see all.

        :param window: largest distance between a query and a key that it sees, in tokens; ``None`` for no limit.
        """
        if window not in self._allowed:
            groups = zip(self._groups, self._places, strict=True)
            self._allowed[window] = [self._seen(group, real, window) for group, (_, real) in groups]
        return self._allowed[window]

    def _seen(self, group: PaddedGroup, real: NDArray[np.bool_], window: int | None) -> torch.Tensor | None:
        if window is None or window >= group.longest - 1:
            return None if group.mask is None else group.mask[None, :, None, :]
        query, key = np.ogrid[: real.shape[1], : group.longest]
        near = abs(query - key) <= window
        if group.mask is None:
            return self._moved(near[None, None])
        token = key < self._lengths[group.sequences][:, None, None]
        # padding sees all tokens: a query that saw none would be NaN, and spoil the gradients of its keys
        return self._moved(token & (near | ~real[:, :, None]))[None]

    @cached_property
    def _places(self) -> list[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
        """For each group, the (n, Q) row numbers, and whether each place is a row rather than padding."""
        places = []
        for group in self._groups:
            place = np.arange(self._counts[group.sequences].max())
            rows = self._starts[group.sequences][:, None] + place
            places.append((rows, place < self._counts[group.sequences][:, None]))
        return places

    def _moved(self, array: NDArray[np.generic]) -> torch.Tensor:
        return moved(array, self._device)
