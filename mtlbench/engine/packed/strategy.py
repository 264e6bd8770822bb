"""Choice of the way to inner products: with a (K, P) buffer, from stored rows, or in two passes."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from mtlbench.engine.packed.layout import Layout

BUFFER = 2**30
"""Largest size of a (K, P) buffer where the choice is free, in numbers: 4 GiB in single precision."""
BUFFER_COST = 200
"""Multiplications in products of rows that take as long as writing one number of the buffer, reading it for the Gram
matrix and reading it again for the combination. A rough measurement on one machine; it affects only the time."""
KEPT = 2
"""Numbers that may be stored until the weights are known, as a multiple of P: as many as AdamW stores."""


@dataclass(frozen=True)
class Strategy:
    """The path of a step from gradients to inner products to the update.

    :param lean: do without a (K, P) buffer.
    :param keeps: when lean, store the layers' inputs and output gradients until the weights are known. Otherwise
        activations are recomputed layer by layer, and a second pass, a portion of the tasks at a time, writes the
        update: this takes the memory of a plain sum and more than twice the time.
    :param portion: largest number of tokens of a portion.
    """

    lean: bool
    keeps: bool = True
    portion: float = inf

    @classmethod
    def choose(cls, layout: Layout, tasks: int, tokens: float, lean: bool | None = None) -> Strategy:
        """Choose by sizes only, so that a cell takes the same path on every machine.

        :param layout: the shared parameters.
        :param tasks: number of tasks.
        :param tokens: mean number of tokens per step, over all tasks together.
        :param lean: whether to do without the buffer; ``None`` leaves the choice open.
        """
        ends = sum(sum(parameter.shape) for parameter in layout.dense if parameter.ndim == 2)
        dense = sum(parameter.numel() for parameter in layout.dense)
        if lean is None:
            lean = tasks * layout.size > BUFFER or tokens**2 * ends < BUFFER_COST * tasks * dense
        return cls(lean, keeps=tokens * ends <= KEPT * layout.size, portion=layout.size / max(1, ends))


def portions(ranges: list[tuple[int, int]], most: float) -> list[list[int]]:
    """Split the tasks, in order, into portions of limited size, with at least one task each.

    :param ranges: the tasks' half-open ranges of tokens.
    :param most: largest number of tokens of a portion.
    :returns: for each portion, its tasks' positions.
    """
    groups: list[list[int]] = []
    begin = 0
    for task, (first, last) in enumerate(ranges):
        if not groups or last - begin > most:
            groups.append([])
            begin = first
        groups[-1].append(task)
    return groups
