"""What a step's gradients reached: which parameters, and which rows of sparse gradients."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch


@dataclass
class Reach:
    """The parameters that one task's gradient reached since the step began, by their positions."""

    written: set[int] = field(default_factory=set)
    """All that it reached."""
    dense: set[int] = field(default_factory=set)
    """Those with a gradient that was not sparse."""
    sparse: dict[int, list[torch.Tensor]] = field(default_factory=dict)
    """Numbers of the rows in sparse gradients."""


def reached_by_some(reaches: list[Reach]) -> set[int]:
    """Return the positions that some task's gradient reached.

    :param reaches: one for each task.
    """
    return set().union(*(reach.written for reach in reaches))


def in_layout(position: int, gradient: torch.Tensor, reaches: list[Reach]) -> torch.Tensor:
    """Return a parameter's gradient as a sparse tensor where torch's own would be one.

    It has every row that a sparse gradient had, zero or not: an optimizer may move those. Processes read different
    rows, so there the nonzero ones of their mean count.

    :param position: the parameter's position.
    :param gradient: a dense gradient.
    :param reaches: one for each task.
    """
    if any(position in reach.dense for reach in reaches):
        return gradient
    numbers = [rows for reach in reaches for rows in reach.sparse.get(position, [])]
    if not numbers:
        return gradient.to_sparse(1)
    rows = torch.cat(numbers).unique()  # type: ignore[no-untyped-call]
    values = gradient[rows]
    return torch.sparse_coo_tensor(rows[None], values, gradient.shape, is_coalesced=True, check_invariants=False)
