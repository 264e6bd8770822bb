"""Packs: the sequences of several tasks' batches one after another, without padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from mtlbench.engine.packed.padding import PaddedGroup, grouped, moved
from mtlbench.engine.packed.queries import Queries


@dataclass(frozen=True)
class Sequences:
    """Tokenised sequences of one batch, one after another.

    :param ids: (T,) token numbers.
    :param kinds: (T,) segment numbers: 0 for a first text, 1 for a second; all 0 for an encoder without segments.
    :param lengths: (S,) number of tokens of each sequence; none is empty.
    :param rows: number of rows of the batch: S, or S/2 where each row has two sequences, all first sequences before
        all second; S by default.
    :param vectors: (S, width) precomputed outputs of a frozen encoder.
    """

    ids: NDArray[np.int64]
    kinds: NDArray[np.int64]
    lengths: NDArray[np.int64]
    rows: int = -1
    vectors: torch.Tensor | None = None

    def __post_init__(self) -> None:
        if self.rows < 0:
            object.__setattr__(self, "rows", len(self.lengths))


@dataclass(frozen=True)
class Pack:
    """Batches of K tasks as T tokens in one row, task after task, sequence after sequence.

    :param ids: (T,) token numbers.
    :param kinds: (T,) segment numbers.
    :param positions: (T,) position of each token in its sequence.
    :param lengths: (S,) number of tokens of each sequence, on the CPU.
    :param tasks: (K + 1,) number of the first sequence of each task, then S.
    :param rows: (K,) number of rows of each task; see :class:`Sequences`.
    :param seeds: (K,) seeds of the tasks' dropout masks; ``None`` for no dropout.
    :param vectors: (S, width) precomputed encoder outputs; ``None`` unless every batch has them.
    """

    ids: torch.Tensor
    kinds: torch.Tensor
    positions: torch.Tensor
    lengths: NDArray[np.int64]
    tasks: tuple[int, ...]
    rows: tuple[int, ...]
    seeds: tuple[int, ...] | None = None
    vectors: torch.Tensor | None = None

    @classmethod
    def of(cls, batches: Sequence[Sequences], device: str | torch.device, seeds: tuple[int, ...] | None = None) -> Pack:
        """Pack the batches of K tasks.

        :param batches: the batches, in the order of the tasks.
        :param device: device of the pack's tensors.
        :param seeds: (K,) seeds of the tasks' dropout masks; ``None`` for no dropout.
        """
        lengths = np.concatenate([batch.lengths for batch in batches])
        starts = np.cumsum(lengths) - lengths
        positions = np.arange(int(lengths.sum())) - np.repeat(starts, lengths)
        ids = np.concatenate([batch.ids for batch in batches])
        kinds = np.concatenate([batch.kinds for batch in batches])
        flat = moved(np.stack([ids, kinds, positions]), device)
        first = np.cumsum([0, *(len(batch.lengths) for batch in batches)])
        rows = tuple(batch.rows for batch in batches)
        vectors = [batch.vectors for batch in batches if batch.vectors is not None]
        known = torch.cat(vectors) if len(vectors) == len(batches) else None
        return cls(flat[0], flat[1], flat[2], lengths, tuple(int(number) for number in first), rows, seeds, known)

    @property
    def count(self) -> int:
        """Number of tasks, K."""
        return len(self.tasks) - 1

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """(S + 1,) number of the first token of each sequence, then T."""
        return np.concatenate([[0], np.cumsum(self.lengths)])

    @property
    def token_ranges(self) -> list[tuple[int, int]]:
        """The K tasks' half-open ranges of tokens."""
        return [
            (int(self.starts[first]), int(self.starts[last]))
            for first, last in zip(self.tasks, self.tasks[1:], strict=False)
        ]

    @property
    def sequence_ranges(self) -> list[tuple[int, int]]:
        """The K tasks' half-open ranges of sequences."""
        return list(zip(self.tasks, self.tasks[1:], strict=False))

    def ranges(self, rows: int) -> list[tuple[int, int]]:
        """Return the tasks' half-open ranges in a tensor with one row per token or per sequence.

        :param rows: the tensor's number of rows, T or S.
        :raises ValueError: for any other number of rows.
        """
        if rows == len(self.ids):
            return self.token_ranges
        if rows == len(self.lengths):
            return self.sequence_ranges
        raise ValueError(f"{rows} rows are neither {len(self.ids)} tokens nor {len(self.lengths)} sequences")

    def task_of_row(self, rows: int) -> torch.Tensor:
        """Return the task number of each row, in a tensor with one row per token or per sequence."""
        return self._task_of_token if rows == len(self.ids) else self._task_of_sequence

    def sums(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the (K, width) sums of each task's rows; one row that is not finite spoils the sums of all tasks."""
        return self.members(len(rows), rows.dtype) @ rows

    def members(self, rows: int, dtype: torch.dtype) -> torch.Tensor:
        """Return the (K, rows) matrix that is 1 where a row belongs to a task, else 0."""
        if (rows, dtype) not in self._membership:
            numbers = torch.arange(self.count, device=self.ids.device)
            self._membership[rows, dtype] = (numbers[:, None] == self.task_of_row(rows)).to(dtype)
        return self._membership[rows, dtype]

    @cached_property
    def _membership(self) -> dict[tuple[int, torch.dtype], torch.Tensor]:
        return {}

    @cached_property
    def _task_of_token(self) -> torch.Tensor:
        return self._numbers(self.token_ranges)

    @cached_property
    def _task_of_sequence(self) -> torch.Tensor:
        return self._numbers(self.sequence_ranges)

    def _numbers(self, ranges: list[tuple[int, int]]) -> torch.Tensor:
        counts = [last - first for first, last in ranges]
        return moved(np.repeat(np.arange(len(counts)), counts), self.ids.device)

    @cached_property
    def sequence_of_token(self) -> torch.Tensor:
        """(T,) number of each token's sequence."""
        return moved(np.repeat(np.arange(len(self.lengths)), self.lengths), self.ids.device)

    @cached_property
    def first_tokens(self) -> torch.Tensor:
        """(S,) number of each sequence's first token."""
        return moved(self.starts[:-1], self.ids.device)

    @cached_property
    def last_tokens(self) -> torch.Tensor:
        """(S,) number of each sequence's last token."""
        return moved(self.starts[1:] - 1, self.ids.device)

    @cached_property
    def groups(self) -> list[PaddedGroup]:
        """Groups of sequences of similar length that attention pads together."""
        return grouped(self.lengths, self.ids.device)

    @cached_property
    def all_queries(self) -> Queries:
        """Queries of attention, one per token."""
        return Queries(self.lengths, self.groups, self.ids.device, first=False)

    @cached_property
    def first_queries(self) -> Queries:
        """Queries of attention, one per sequence: its first token."""
        return Queries(self.lengths, self.groups, self.ids.device, first=True)

    def prepare(self) -> None:
        """Compute in advance the positions that attention needs."""
        _ = self.first_tokens
        for queries in (self.all_queries, self.first_queries):
            _ = queries.rows, queries.places, queries.masks if self.seeds is not None else None
