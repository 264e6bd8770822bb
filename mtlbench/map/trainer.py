"""Train settings × seeds × columns in tensors: each cell as the ordinary trainer trains it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray

from mtlbench.errors import UsageError
from mtlbench.map.cells import BEST, DIVERGED, SHAPE, Array, Column, Features, Setting, Trained
from mtlbench.map.clock import Clock
from mtlbench.map.family import Instances
from mtlbench.map.group import Group, groups_of
from mtlbench.map.measuring import Measuring, joined
from mtlbench.map.network import forward

BLOCK = 2**12
"""Most cells that are trained together: a call of a method for few costs hardly less than for many."""

Listener = Callable[[int, int], None]
"""Called after every block with the number of instances done and the total."""


def train(
    settings: Sequence[Setting],
    seeds: Sequence[int],
    columns: Sequence[Column],
    *,
    precision: str = "float32",
    listener: Listener = lambda done, total: None,
) -> Trained:
    """Train every column on every setting and seed.

    A cell has the rows, batches, first weights, optimizer and schedule of the ordinary trainer: those of
    ``mtlbench run --problem regimes[...,instance=SEED]`` with that seed, the setting's steps and batch size, no weight
    decay, and ``lr_schedule = "linear"``. Plain SGD and momentum exist here alone. It runs on one processor core if
    torch has one thread.

    >>> from mtlbench.map.cells import Column, Setting
    >>> from mtlbench.map.trainer import train
    >>> trained = train([Setting(steps=5)], [0, 1], [Column("sum", 0.01), Column("pcgrad", 0.01)])
    >>> trained.test.shape
    (1, 2, 2, 2)

    :param settings: S settings of one :attr:`Setting.shape`.
    :param seeds: N seeds, each of teachers, rows, batches, first weights and random methods.
    :param columns: Q columns.
    :param precision: "float32" or "float64", of the networks; methods compute in float64.
    :param listener: is told how far it is.
    :returns: the scores of S × N × Q cells.
    :raises UsageError: when the settings differ in shape, there is nothing to train, or a column does not suit the
        family.
    """
    if not (settings and seeds and columns):
        raise UsageError("map: give at least one setting, one seed and one column")
    for name in SHAPE:
        values = sorted({getattr(setting, name) for setting in settings})
        if len(values) > 1:
            raise UsageError(f"map: settings with {name} {' and '.join(map(str, values))} cannot be trained together")
    clock = Clock()
    pairs = list(product(settings, seeds))
    size = max(1, BLOCK // len(columns))
    blocks: list[_Result] = []
    for start in range(0, len(pairs), size):
        block = Block(Instances.of(pairs[start : start + size], precision), columns, clock)
        clock.lap("setup")
        block.run()
        blocks.append(block.result())
        listener(min(start + size, len(pairs)), len(pairs))
    shape = len(settings), len(seeds)
    scores = {split: np.concatenate([block.scores[split] for block in blocks]) for split in ("dev", "test")}
    failures = {
        (*divmod(number * size + instance, len(seeds)), column): reason
        for number, block in enumerate(blocks)
        for (instance, column), reason in block.failures.items()
    }
    features = [block.features for block in blocks if block.features is not None]
    return Trained(
        settings,
        seeds,
        columns,
        dev=scores["dev"].reshape(*shape, len(columns), -1),
        test=scores["test"].reshape(*shape, len(columns), -1),
        diverged=np.concatenate([block.diverged for block in blocks]).reshape(*shape, -1),
        failures=failures,
        seconds=clock.seconds,
        features=joined(features, *shape) if features else None,
    )


@dataclass(frozen=True)
class _Result:
    """What a block of S instances has led to; as in :class:`Trained`, with one axis of instances."""

    scores: Mapping[str, Array]
    diverged: NDArray[np.bool_]
    failures: Mapping[tuple[int, int], str]
    features: Features | None


class Block:
    """Some instances, with all columns, in training.

    :param instances: S instances.
    :param columns: Q columns.
    :param clock: measures where the time goes.
    """

    def __init__(self, instances: Instances, columns: Sequence[Column], clock: Clock) -> None:
        self.instances, self.columns, self.clock = instances, list(columns), clock
        self.groups: list[Group] = groups_of(instances, columns)
        self._measuring = [Measuring(instances, group) for group in self.groups]

    def run(self) -> None:
        """Train to the end."""
        for step in range(self.instances.setting.steps):
            rows = self.instances.batch(step)
            self.clock.lap("batches")
            for group in self.groups:
                group.step(rows, self.clock)
            for measuring in self._measuring:
                measuring.after(step)
            self.clock.lap("features")

    def result(self) -> _Result:
        """Score all cells. Those that have diverged have the worst score."""
        diverged = np.zeros((len(self.instances), len(self.columns)), dtype=np.bool_)
        failures: dict[tuple[int, int], str] = {}
        for group in self.groups:
            diverged[:, group.positions] = group.diverged
            failures |= {(s, group.positions[place]): why for (s, place), why in group.weighing.failures.items()}
        raw = {split: self.scores(split) for split in ("dev", "test")}
        for errors in raw.values():
            diverged |= ~np.isfinite(errors).all(axis=2)
        scores = {}
        for split, errors in raw.items():
            scores[split] = np.where(diverged[..., None], DIVERGED, np.clip(errors, BEST, DIVERGED))
            for position, column in enumerate(self.columns):
                if column.single is not None:
                    others = np.arange(errors.shape[2]) != column.single
                    scores[split][:, position, others] = np.nan
        self.clock.lap("evaluation")
        found = [features for measuring in self._measuring if (features := measuring.result()) is not None]
        return _Result(scores, diverged, failures, found[0] if found else None)

    def scores(self, split: str) -> Array:
        """Return (S, Q, K) mean squared errors on a split, as they are.

        :param split: "dev" or "test".
        """
        rows = self.instances.rows[split]
        scores = np.empty((len(self.instances), len(self.columns), self.instances.setting.tasks))
        for group in self.groups:
            for number in range(len(self.instances)):  # one at a time: a split is as large as many batches
                here = slice(number, number + 1)
                _, outputs = forward(rows.inputs[here], group.networks.inner[here], group.networks.outer[here])
                squares = (outputs - rows.labels[here, ..., None]).square_().mean(1, dtype=torch.float64)
                scores[number, group.positions] = squares[0].T.numpy()
        return scores
