"""Batches of steps, and their gradients by autograd."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from tiny_models import Encoded, Model, Plain, Truth, sequences, truth

from mtlbench.engine.packed.pack import Pack, Sequences
from mtlbench.engine.packed.passes import JointForward
from mtlbench.engine.step import Forward


@cache
def batches(step: int, number: int = 0, tasks: int = 3) -> tuple[Sequences, ...]:
    """Return the tasks' batches: another number of sequences and tokens at every step."""
    random = np.random.default_rng([step, number, tasks])
    sizes = [1, *random.integers(1, 5, tasks - 1)]
    return tuple(
        sequences(random.integers(1, 14, size).tolist(), 100 * step + 10 * number + task)
        for task, size in enumerate(sizes)
    )


def seeds(step: int, number: int, tasks: int = 3) -> tuple[int, ...]:
    return tuple(1000 * step + 100 * number + task for task in range(tasks))


def forward(model: Model, step: int = 0, tasks: int = 3) -> JointForward:
    every = range(tasks)

    def run(number: int, tasks: Sequence[int] = every, recompute: bool = False) -> list[Forward]:
        given, drawn = batches(step, number, len(every)), seeds(step, number, len(every))
        pack = Pack.of([given[task] for task in tasks], "cpu", tuple(drawn[task] for task in tasks))
        return model.forwards(pack, tasks)

    return run


def native(family: str, dropout: float, dtype: torch.dtype = torch.float64) -> Model:
    return Plain(dtype=dtype) if family == "plain" else Encoded(family, dropout=dropout, dtype=dtype).pack_attention()


@cache
def truths(family: str, dropout: float, step: int, number: int = 0) -> Truth:
    """Return losses and gradients by autograd in double precision."""
    return truth(native(family, dropout), batches(step, number), seeds(step, number))


def close(actual: Any, reference: Any, tolerance: float) -> bool:
    return float(np.linalg.norm(np.asarray(actual) - np.asarray(reference))) <= tolerance * float(
        np.linalg.norm(reference)
    )
