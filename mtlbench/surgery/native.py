"""Torch's own backward of a layer whose backward was replaced, to judge the replacement by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch


@dataclass
class Tally:
    """Rows that passed through the replaced layers, and how many of them were zeros."""

    rows: int = 0
    dead: int = 0

    @property
    def share(self) -> float | None:
        """The share of rows of zeros; ``None`` where there was no row."""
        return self.dead / self.rows if self.rows else None


def gradients_by_torch(
    function: Callable[..., torch.Tensor],
    inputs: Sequence[torch.Tensor | None],
    ctx: Any,
    output: torch.Tensor,
    tally: Tally,
) -> list[torch.Tensor | None]:
    """Return the gradients of a function's inputs, from a graph that torch makes of it now.

    :param function: torch's function of the layer.
    :param inputs: its tensors.
    :param ctx: the context of the replaced function, which knows the inputs that need gradients.
    :param output: the gradient of the function's result.
    :param tally: counts the rows of ``output``.
    """
    rows = output.reshape(-1, output.shape[-1]) if output.numel() else output.new_zeros(0, 1)
    tally.rows, tally.dead = tally.rows + len(rows), tally.dead + int(rows.eq(0.0).all(1).sum())
    needs = ctx.needs_input_grad[: len(inputs)]
    with torch.enable_grad():
        copies = [None if x is None else x.detach().requires_grad_(need) for x, need in zip(inputs, needs, strict=True)]
        result = function(*copies)
    wanted = [copy for copy in copies if copy is not None and copy.requires_grad]
    gradients = iter(torch.autograd.grad(result, wanted, output))
    return [next(gradients) if copy is not None and copy.requires_grad else None for copy in copies]
