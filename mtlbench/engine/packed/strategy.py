"""Which way inner products are computed: with a (K, P) buffer, from rows that are kept, or in two passes."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from mtlbench.engine.packed.layout import Layout

BUFFER = 2**30
"""Numbers that a (K, P) buffer may have at most where the choice is free: 4 GiB in single precision."""
BUFFER_COST = 200
"""Multiplications of row products that take as long as one number of the buffer: to write it, to read it for the Gram
matrix and again for the combination. Roughly, by measurements on one machine; it decides on time alone."""
KEPT = 2
"""Numbers that may be kept until the weights are known, as a multiple of P: what AdamW keeps too."""


@dataclass(frozen=True)
class Strategy:
    """How a step gets from gradients to inner products to the update.

    :param lean: without a (K, P) buffer.
    :param keeps: lean only: the layers' inputs and output gradients are kept until the weights are known. Otherwise
        activations are recomputed layer by layer, and a second pass, some tasks at a time, writes the update: the
        memory of a plain sum, in more than twice the time.
    :param portion: tokens at a time in that second pass.
    """

    lean: bool
    keeps: bool = True
    portion: float = inf

    @classmethod
    def choose(cls, layout: Layout, tasks: int, tokens: float, lean: bool | None = None) -> Strategy:
        """Choose by the sizes alone, so that the same cell goes the same way on every machine.

        :param tokens: of all tasks together, a step, on average.
        :param lean: whether to do without the buffer; ``None`` leaves it open.
        """
        ends = sum(sum(parameter.shape) for parameter in layout.dense if parameter.ndim == 2)
        dense = sum(parameter.numel() for parameter in layout.dense)
        if lean is None:
            lean = tasks * layout.size > BUFFER or tokens**2 * ends < BUFFER_COST * tasks * dense
        return cls(lean, keeps=tokens * ends <= KEPT * layout.size, portion=layout.size / max(1, ends))


def portions(ranges: list[tuple[int, int]], most: float) -> list[list[int]]:
    """Return the tasks, in order, in portions of at most so many tokens, but of one task at least.

    :param ranges: the tasks' half-open ranges of tokens.
    """
    found: list[list[int]] = []
    begin = 0
    for task, (first, last) in enumerate(ranges):
        if not found or last - begin > most:
            found.append([])
            begin = first
        found[-1].append(task)
    return found
