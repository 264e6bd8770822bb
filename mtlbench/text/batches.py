"""Batches of rows for training and evaluation: the batch schedule, tokens, targets and frozen encoders' vectors."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from mtlbench.contract.task import Rows, Splits, Task
from mtlbench.engine.packed.pack import Pack, Sequences
from mtlbench.engine.packed.padding import moved
from mtlbench.problem.schedule import batch_schedule
from mtlbench.text.tokens import Tokenizer, Tokens

EVALUATION_TOKENS = 4096
"""Approximate number of tokens in one pack during evaluation."""


@dataclass(frozen=True)
class Vectors:
    """Vectors that a frozen encoder computed for a task's sequences.

    :param table: (n, width) vectors, on the device.
    :param indices: for each sequence, its row in the table; -1 where it has none.
    """

    table: torch.Tensor
    indices: NDArray[np.int64]

    def select(self, sequences: NDArray[np.int64]) -> torch.Tensor:
        """Return the vectors of the sequences with the given numbers."""
        return self.table[moved(self.indices[sequences], self.table.device)]

    @classmethod
    def encode(
        cls, tokens: Tokens, portions: Sequence[NDArray[np.int64]], pooled: Callable[[Pack], torch.Tensor], device: str
    ) -> Vectors:
        """Encode every row of the portions once, rows of similar length together.

        Packs do not mix portions: the last bits of a row's vector may depend on the other rows of its pack, and must
        not depend on how many portions a method needs.

        :param tokens: the tokens of all rows.
        :param portions: arrays of row numbers; a row may occur repeatedly.
        :param pooled: the encoder: takes a pack, returns the (S, width) vectors of its sequences.
        :param device: where packs are encoded.
        """
        indices = np.full(len(tokens.offsets) - 1, -1)
        table, count = [], 0
        for portion in portions:
            rows = np.unique(portion)
            rows = rows[indices[rows * tokens.sides] < 0]
            for batch in group_by_length(tokens.lengths()[rows], rows):
                sequences = tokens.sequences(batch)
                indices[sequences] = count + np.arange(len(sequences))
                count += len(sequences)
                table.append(pooled(Pack.of([tokens.take(batch)], device)))
        return cls(torch.cat(table), indices)


def group_by_length(lengths: NDArray[np.int64], rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield groups of rows of similar length, each of about :data:`EVALUATION_TOKENS` tokens.

    :param lengths: (N,) tokens of each row.
    :param rows: (N,) row numbers.
    """
    order = np.argsort(lengths, kind="stable")
    ends = np.flatnonzero(np.diff(np.cumsum(lengths[order]) // EVALUATION_TOKENS)) + 1
    yield from (group for group in np.split(rows[order], ends) if len(group))


@dataclass
class Evaluated:
    """A split that a model is scored on.

    :param rows: texts and labels.
    :param tokens: the rows' tokens.
    :param vectors: the rows' vectors, where the encoder is frozen.
    """

    rows: Rows
    tokens: Tokens
    vectors: Vectors | None = None

    def batches(self) -> Iterator[tuple[NDArray[np.int64], Sequences]]:
        """Yield row numbers and their tokens, rows of similar length together."""
        for rows in group_by_length(self.tokens.lengths(), np.arange(len(self.tokens))):
            vectors = None if self.vectors is None else self.vectors.select(self.tokens.sequences(rows))
            yield rows, self.tokens.take(rows, vectors)


@dataclass
class TaskData:
    """One task prepared for training: schedules, tokens and targets.

    :param task: the task.
    :param sizes: (steps,) number of rows in each step.
    :param weights: (steps,) factors of the task's loss.
    :param schedules: one array for each batch of a step: the row numbers of all steps, concatenated.
    :param train_tokens: tokens of the training rows.
    :param targets: targets of the training rows, on the device.
    :param evaluated: split name (``dev``, and ``test`` if there is one) → its rows.
    """

    task: Task
    sizes: NDArray[np.int64]
    weights: NDArray[np.float64]
    schedules: list[NDArray[np.int64]]
    train_tokens: Tokens
    targets: torch.Tensor
    evaluated: dict[str, Evaluated]
    draws: str = ""
    """Seeds the schedule and the dropout masks: the task's key, or that of all tasks with which it shares batches."""
    vectors: Vectors | None = None
    """Vectors of the training rows, where the encoder is frozen; see :meth:`freeze`."""

    @classmethod
    def prepare(
        cls,
        task: Task,
        splits: Splits,
        tokenizer: Tokenizer,
        *,
        seed: int,
        sizes: NDArray[np.int64],
        batches: int,
        device: str,
        weights: NDArray[np.float64] | None = None,
        draws: str | None = None,
    ) -> TaskData:
        """Tokenise all splits and schedule every batch.

        :param task: the task.
        :param splits: its rows.
        :param tokenizer: the encoder's tokenizer.
        :param seed: the cell's seed.
        :param sizes: (steps,) number of rows in each step.
        :param batches: number of independent batches in each step.
        :param device: where targets are kept.
        :param weights: (steps,) factors of the task's loss; 1 by default.
        :param draws: seeds schedule and dropout masks; the task's key by default.
        """
        draws = task.key if draws is None else draws
        rows, total = len(splits.train), int(sizes.sum())
        evaluated = {"dev": splits.dev} | ({} if splits.test is None else {"test": splits.test})
        return cls(
            task,
            sizes,
            np.ones(len(sizes)) if weights is None else weights,
            [batch_schedule(seed, draws, rows, total, number) for number in range(batches)],
            tokenizer.tokens(splits.train.texts),
            torch.from_numpy(task.targets(splits, splits.train.labels)).to(device),
            {name: Evaluated(rows, tokenizer.tokens(rows.texts)) for name, rows in evaluated.items()},
            draws,
        )

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        """Where each step's rows end in a schedule."""
        return np.cumsum(self.sizes)

    @property
    def schedule_fingerprint(self) -> str:
        """SHA-256 of the row numbers that the updates are computed from."""
        return hashlib.sha256(self.schedules[0].tobytes()).hexdigest()

    def freeze(self, pooled: Callable[[Pack], torch.Tensor]) -> None:
        """Run a frozen encoder once on every row that training and evaluation need, and keep the vectors.

        :param pooled: the encoder: takes a pack, returns the (S, width) vectors of its sequences.
        """
        device = str(self.targets.device)
        with torch.no_grad():  # not inference_mode(): its tensors cannot be saved for a backward pass
            self.vectors = Vectors.encode(self.train_tokens, self.schedules, pooled, device)
            for split in self.evaluated.values():
                split.vectors = Vectors.encode(split.tokens, [np.arange(len(split.tokens))], pooled, device)

    def rows(self, step: int, number: int = 0) -> NDArray[np.int64]:
        """Return the row numbers of one batch.

        :param step: counted from 0.
        :param number: which of the step's batches; see :func:`batch_schedule`.
        """
        end = self._ends[step]
        return self.schedules[number][end - self.sizes[step] : end]

    def batch(self, step: int, number: int = 0, part: int = 0, parts: int = 1) -> tuple[Sequences, torch.Tensor]:
        """Return the tokens and targets of one batch, or of one of its equal parts.

        :param step: counted from 0.
        :param number: which of the step's batches; see :func:`batch_schedule`.
        :param part: which part, counted from 0.
        :param parts: number of equal parts.
        """
        rows = self.rows(step, number).reshape(parts, -1)[part]
        vectors = None if self.vectors is None else self.vectors.select(self.train_tokens.sequences(rows))
        return self.train_tokens.take(rows, vectors), self.batch_targets(step, number, part, parts)

    def batch_targets(self, step: int, number: int = 0, part: int = 0, parts: int = 1) -> torch.Tensor:
        """Return the targets of one batch, or of one of its equal parts; see :meth:`batch`."""
        rows = self.rows(step, number).reshape(parts, -1)[part]
        return self.targets[moved(rows, self.targets.device)]
