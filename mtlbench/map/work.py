"""Train one shard: the work of a process."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mtlbench.errors import said
from mtlbench.map.cells import Column, Setting, Trained
from mtlbench.map.shards import Shard
from mtlbench.records.header import now

Train = Callable[[Sequence[Setting], Sequence[int], Sequence[Column]], Trained]
"""The trainer, :func:`mtlbench.map.trainer.train`, or another with its parameters."""


@dataclass(frozen=True)
class ShardJob:
    """A shard to be trained.

    :param study: name of its study.
    :param shard: the shard.
    :param train: the trainer.
    """

    study: str
    shard: Shard
    train: Train


@dataclass(frozen=True)
class Outcome:
    """What came of a shard.

    :param started: time of the start, UTC.
    :param seconds: duration.
    :param trained: its scores; ``None`` where it failed.
    :param error: why it failed, in one line.
    """

    started: str
    seconds: float
    trained: Trained | None = None
    error: str = ""


def train_shard(job: ShardJob) -> Outcome:
    """Train a shard on one thread, so that several processes do not wait for one another.

    :param job: the shard.
    """
    import torch

    torch.set_num_threads(1)
    started, begin = now(), time.perf_counter()
    try:
        trained = job.train(job.shard.settings, job.shard.seeds, job.shard.columns)
    except Exception as error:  # a method's or a solver's: the other shards go on
        return Outcome(started, time.perf_counter() - begin, error=said(error))
    return Outcome(started, time.perf_counter() - begin, trained)
