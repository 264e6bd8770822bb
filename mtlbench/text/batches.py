"""From rows of text to packs: tokens, the batch schedule, and targets."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from mtlbench import seeds
from mtlbench.contract.task import Rows, Splits, Task
from mtlbench.engine.packed.pack import Pack, Sequences, moved
from mtlbench.text.tokens import Tokenizer, Tokens

EVALUATION_TOKENS = 4096
"""Tokens that are evaluated in one pack."""


def batch_schedule(seed: int, task: str, rows: int, total: int, number: int = 0) -> NDArray[np.int64]:
    """Return the (total,) row numbers that a task trains on, in order.

    Epoch after epoch, each a fresh permutation; a batch may begin in one epoch and end in the next, so that every
    row is seen equally often.

    :param number: 0 for the batches that the update is for, the same whatever the method; 1 and 2 for independent
        ones, which some methods estimate their weights from.
    """
    epochs = -(-total // rows)
    further = [number] if number else []
    order = [seeds.generator(seed, "schedule", task, epoch, *further).permutation(rows) for epoch in range(epochs)]
    return np.concatenate(order)[:total]


@dataclass(frozen=True)
class Vectors:
    """What a frozen encoder makes of some sequences.

    :param table: (n, width), on the device.
    :param places: of each of the sequences, its row in the table; -1 for one that is not there.
    """

    table: torch.Tensor
    places: NDArray[np.int64]

    def of(self, sequences: NDArray[np.int64]) -> torch.Tensor:
        """Return the vectors of some sequences, by their numbers."""
        return self.table[moved(self.places[sequences], self.table.device)]

    @classmethod
    def made(
        cls, tokens: Tokens, portions: Sequence[NDArray[np.int64]], pooled: Callable[[Pack], torch.Tensor], device: str
    ) -> Vectors:
        """Run an encoder once on every row of some portions, rows of like length together.

        Packs do not mix portions: a row's last bits may depend on what it is packed with, and must not depend on how
        many portions a method needs.
        """
        places = np.full(len(tokens.offsets) - 1, -1)
        table, count = [], 0
        for portion in portions:
            rows = np.unique(portion)
            rows = rows[places[rows * tokens.sides] < 0]
            for chosen in in_packs(tokens.lengths()[rows], rows):
                numbers = tokens.sequences(chosen)
                places[numbers] = count + np.arange(len(numbers))
                count += len(numbers)
                table.append(pooled(Pack.of([tokens.take(chosen)], device)))
        return cls(torch.cat(table), places)


def in_packs(lengths: NDArray[np.int64], rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield rows of like length together, about :data:`EVALUATION_TOKENS` tokens at a time."""
    order = np.argsort(lengths, kind="stable")
    ends = np.flatnonzero(np.diff(np.cumsum(lengths[order]) // EVALUATION_TOKENS)) + 1
    yield from (chosen for chosen in np.split(rows[order], ends) if len(chosen))


@dataclass
class Evaluated:
    """Rows that a model is scored on.

    :param vectors: what a frozen encoder makes of them.
    """

    rows: Rows
    tokens: Tokens
    vectors: Vectors | None = None

    def batches(self) -> Iterator[tuple[NDArray[np.int64], Sequences]]:
        """Yield row numbers and tokens, rows of like length together."""
        for rows in in_packs(self.tokens.lengths(), np.arange(len(self.tokens))):
            known = None if self.vectors is None else self.vectors.of(self.tokens.sequences(rows))
            yield rows, self.tokens.take(rows, known)


@dataclass
class TaskData:
    """One task made ready to train on: schedules, tokens, targets.

    :param sizes: (steps,) rows that each step takes.
    :param weights: (steps,) factors of the task's loss.
    :param schedules: for each of a step's batches, the row numbers of all steps, one step's after another's.
    :param evaluated: the rows of the development split, and of the test split if there is one, by its name.
    """

    task: Task
    sizes: NDArray[np.int64]
    weights: NDArray[np.float64]
    schedules: list[NDArray[np.int64]]
    train_tokens: Tokens
    targets: torch.Tensor
    evaluated: dict[str, Evaluated]
    vectors: Vectors | None = None
    """Of the training rows, where the encoder is frozen; see :meth:`freeze`."""

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
    ) -> TaskData:
        """Tokenise all splits, and plan each of a step's batches.

        :param weights: of the loss in each step; 1 by default.
        """
        rows, total = len(splits.train), int(sizes.sum())
        evaluated = {"dev": splits.dev} | ({} if splits.test is None else {"test": splits.test})
        return cls(
            task,
            sizes,
            np.ones(len(sizes)) if weights is None else weights,
            [batch_schedule(seed, task.key, rows, total, number) for number in range(batches)],
            tokenizer.tokens(splits.train.texts),
            torch.from_numpy(task.targets(splits, splits.train.labels)).to(device),
            {name: Evaluated(rows, tokenizer.tokens(rows.texts)) for name, rows in evaluated.items()},
        )

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        """Where each step's rows end in a schedule."""
        return np.cumsum(self.sizes)

    @property
    def schedule_fingerprint(self) -> str:
        """SHA-256 of the row numbers that the updates are for."""
        return hashlib.sha256(self.schedules[0].tobytes()).hexdigest()

    def freeze(self, pooled: Callable[[Pack], torch.Tensor]) -> None:
        """Run a frozen encoder once on all rows that training and evaluation will need, and remember its vectors.

        :param pooled: the encoder: a pack → the (S, width) vectors of its sequences.
        """
        device = str(self.targets.device)
        with torch.no_grad():  # not in inference mode: its tensors cannot be saved for a backward pass
            self.vectors = Vectors.made(self.train_tokens, self.schedules, pooled, device)
            for one in self.evaluated.values():
                one.vectors = Vectors.made(one.tokens, [np.arange(len(one.tokens))], pooled, device)

    def rows(self, step: int, number: int = 0) -> NDArray[np.int64]:
        """Return the row numbers of one of a step's batches."""
        end = self._ends[step]
        return self.schedules[number][end - self.sizes[step] : end]

    def batch(self, step: int, number: int = 0, part: int = 0, parts: int = 1) -> tuple[Sequences, torch.Tensor]:
        """Return the tokens and targets of one of a step's batches, or of one of its equal parts."""
        rows = self.rows(step, number).reshape(parts, -1)[part]
        known = None if self.vectors is None else self.vectors.of(self.train_tokens.sequences(rows))
        return self.train_tokens.take(rows, known), self.targets[moved(rows, self.targets.device)]
