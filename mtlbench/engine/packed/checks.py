"""Losses and gradients that are not finite: found by what reaches the CPU anyway, and traced to task and parameter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from mtlbench.contract.observation import Matrix, Vector
from mtlbench.engine.packed.layout import Layout
from mtlbench.engine.packed.pack import Pack
from mtlbench.engine.packed.rows import norm_backward
from mtlbench.engine.processes import ALONE, Processes
from mtlbench.engine.step import Forward, NotFinite

SOME = -1
"""In place of a task's number, where a weighted sum does not show which task it was."""


def losses_of(graphs: Sequence[Forward]) -> torch.Tensor:
    """Return the (K,) losses of one part of a batch, still on the device."""
    return torch.stack([graph.loss.detach() for graph in graphs])


def values(parts: Sequence[torch.Tensor], processes: Processes = ALONE) -> Vector:
    """Return a batch's (K,) losses as numbers, the means over its parts: this waits for the device.

    :param parts: those of this process; each has as many.
    :raises NotFinite: naming the first task whose loss is not.
    """
    sums = torch.stack(list(parts)).double().cpu().numpy().sum(axis=0)
    mean: Vector = processes.total(sums) / (len(parts) * processes.count)
    all_finite(mean, "loss")
    return mean


def checked(gram: Matrix) -> Matrix:
    """Return a Gram matrix whose diagonal is finite.

    :raises NotFinite: naming the first task whose gradient is not.
    """
    all_finite(np.diagonal(gram))
    return gram


def all_finite(numbers: Sequence[float] | Vector, what: str = "gradient") -> None:
    """Check one number a task.

    :raises NotFinite: naming the first task whose number is not finite.
    """
    for task, value in enumerate(numbers):
        if not np.isfinite(value):
            raise NotFinite(task, what, float(value))


class Culprits:
    """The collector that keeps of every task's gradient only whether it is finite, parameter by parameter.

    For a second backward over a step that went wrong: by then the weighted sum no longer shows whose fault it was.
    """

    def __init__(self, layout: Layout, pack: Pack) -> None:
        self.layout, self.pack = layout, pack
        self._found: dict[tuple[int, int], float] = {}

    def linear(self, layer: nn.Linear, inputs: torch.Tensor, gradient: torch.Tensor) -> None:
        """Look at dYₖᵀXₖ and the sum of dYₖ."""
        for task, (first, last) in enumerate(self.pack.ranges(len(inputs))):
            part = gradient[first:last]
            if layer.weight in self.layout:
                self.look(task, layer.weight, part.T @ inputs[first:last])
            self.look(task, layer.bias, part.sum(dim=0))

    def norm(
        self, layer: nn.LayerNorm, inputs: torch.Tensor, gradient: torch.Tensor, statistics: list[torch.Tensor]
    ) -> torch.Tensor:
        """Look at the gradients of scale and shift; return the gradient of the inputs."""
        below, of_scale = norm_backward(layer, inputs, gradient, statistics)
        for task, (first, last) in enumerate(self.pack.ranges(len(inputs))):
            self.look(task, layer.weight, of_scale[first:last].sum(dim=0))
            self.look(task, layer.bias, gradient[first:last].sum(dim=0))
        return below

    def embedding(self, layer: nn.Embedding, ids: torch.Tensor, gradient: torch.Tensor) -> None:
        """Look at the rows that are added to a table."""
        for task, (first, last) in enumerate(self.pack.ranges(len(ids))):
            self.look(task, layer.weight, gradient[first:last])

    def look(self, task: int, parameter: torch.Tensor | None, gradient: torch.Tensor) -> None:
        """Remember a gradient that is not finite."""
        if parameter is not None and not bool(torch.isfinite(gradient).all()):
            self._found[task, id(parameter)] = float(gradient.sum())  # NaN, or the infinity

    def first(self, heads: Sequence[Sequence[nn.Parameter]]) -> NotFinite | None:
        """Return the first task, and the first of its parameters by the layout's names, whose gradient is not finite.

        :param heads: for each task, the parameters that belong to it alone, with ``.grad``.
        """
        for task, group in enumerate(heads):
            for parameter in group:
                if parameter.grad is not None:
                    self.look(task, parameter, parameter.grad)
            for parameter in [*self.layout.named, *group]:
                if (task, id(parameter)) in self._found:
                    value = self._found[task, id(parameter)]
                    return NotFinite(task, "gradient", value, self.layout.name(parameter))
        return None
