"""Checks for losses and gradients that are not finite, by numbers that the CPU reads anyway, and their culprits."""

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

UNKNOWN_TASK = -1
"""Stands for a task's position where a weighted sum does not show it."""


def losses_of(graphs: Sequence[Forward]) -> torch.Tensor:
    """Return the (K,) losses of one part of a batch, without leaving the device."""
    return torch.stack([graph.loss.detach() for graph in graphs])


def values(parts: Sequence[torch.Tensor], processes: Processes = ALONE) -> Vector:
    """Return a batch's (K,) losses as numbers, the means over its parts. This waits for the device.

    :param parts: the (K,) losses of each of this process's parts; every process has equally many.
    :param processes: the processes that the parts are spread over.
    :raises NotFinite: when a loss is not finite; it names the first such task.
    """
    sums = torch.stack(list(parts)).double().cpu().numpy().sum(axis=0)
    mean: Vector = processes.total(sums) / (len(parts) * processes.count)
    all_finite(mean, "loss")
    return mean


def checked(gram: Matrix) -> Matrix:
    """Return a Gram matrix after checking its diagonal.

    :raises NotFinite: when a gradient is not finite; it names the first such task.
    """
    all_finite(np.diagonal(gram))
    return gram


def all_finite(numbers: Sequence[float] | Vector, what: str = "gradient") -> None:
    """Check one number per task.

    :param numbers: (K,) numbers.
    :param what: their name in the error.
    :raises NotFinite: when a number is not finite; it names the first such task.
    """
    for task, value in enumerate(numbers):
        if not np.isfinite(value):
            raise NotFinite(task, what, float(value))


class Culprits:
    """Collector that checks whether every task's gradient is finite, parameter by parameter.

    It serves a second backward over a failed step, whose weighted sum does not show which task is at fault.

    :param layout: the shared parameters.
    :param pack: the pack of the backward pass.
    """

    def __init__(self, layout: Layout, pack: Pack) -> None:
        self.layout, self.pack = layout, pack
        self._values: dict[tuple[int, int], float] = {}

    def linear(self, layer: nn.Linear, inputs: torch.Tensor, gradient: torch.Tensor) -> None:
        """Check dYₖᵀXₖ and the sum of dYₖ."""
        for task, (first, last) in enumerate(self.pack.ranges(len(inputs))):
            part = gradient[first:last]
            if layer.weight in self.layout:
                self.check(task, layer.weight, part.T @ inputs[first:last])
            self.check(task, layer.bias, part.sum(dim=0))

    def norm(
        self, layer: nn.LayerNorm, inputs: torch.Tensor, gradient: torch.Tensor, statistics: list[torch.Tensor]
    ) -> torch.Tensor:
        """Check the gradients of scale and shift; return the gradient of the inputs."""
        below, of_scale = norm_backward(layer, inputs, gradient, statistics)
        for task, (first, last) in enumerate(self.pack.ranges(len(inputs))):
            self.check(task, layer.weight, of_scale[first:last].sum(dim=0))
            self.check(task, layer.bias, gradient[first:last].sum(dim=0))
        return below

    def embedding(self, layer: nn.Embedding, ids: torch.Tensor, gradient: torch.Tensor) -> None:
        """Check the rows that are added to a table."""
        for task, (first, last) in enumerate(self.pack.ranges(len(ids))):
            self.check(task, layer.weight, gradient[first:last])

    def check(self, task: int, parameter: torch.Tensor | None, gradient: torch.Tensor) -> None:
        """Record a gradient that is not finite.

        :param task: the task's position.
        :param parameter: the parameter; ``None`` where a layer has none.
        :param gradient: the task's gradient of it, or rows that sum to it.
        """
        if parameter is not None and not bool(torch.isfinite(gradient).all()):
            self._values[task, id(parameter)] = float(gradient.sum())  # NaN, or the infinity

    def first(self, heads: Sequence[Sequence[nn.Parameter]]) -> NotFinite | None:
        """Return an error that names the first task, and its first parameter, whose gradient is not finite.

        :param heads: for each task, the parameters that belong to it only, with ``.grad``.
        :returns: the error, with the parameter's name in the layout; ``None`` if all gradients are finite.
        """
        for task, group in enumerate(heads):
            for parameter in group:
                if parameter.grad is not None:
                    self.check(task, parameter, parameter.grad)
            for parameter in [*self.layout.named, *group]:
                if (task, id(parameter)) in self._values:
                    value = self._values[task, id(parameter)]
                    return NotFinite(task, "gradient", value, self.layout.name(parameter))
        return None
