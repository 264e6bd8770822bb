"""Gradients of single tasks: those of the heads, and of the representation that the heads read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from mtlbench.contract.method import Method
from mtlbench.contract.observation import Matrix, above_zero
from mtlbench.engine.packed.checks import all_finite
from mtlbench.engine.step import Forward, Step
from mtlbench.errors import UsageError
from mtlbench.solvers.inner_products import gram_of_pieces


class Heads:
    """Parameters that belong to one task only. One backward of Σ Lₖ gives each its task's plain gradient.

    :param groups: the parameters, by task.
    """

    def __init__(self, groups: Sequence[Sequence[nn.Parameter]]) -> None:
        self.groups = [list(group) for group in groups]

    def clear(self) -> None:
        """Clear the gradients before the first backward of a batch, whose parts then accumulate."""
        for group in self.groups:
            for parameter in group:
                parameter.grad = None

    def complete(self) -> None:
        """Set a gradient of 0 where no loss reached a parameter, so that optimizers treat it as in the loop engine."""
        for group in self.groups:
            for parameter in group:
                if parameter.grad is None and parameter.requires_grad:
                    parameter.grad = torch.zeros_like(parameter)

    def check(self, like: torch.Tensor) -> None:
        """Check the gradients by copying K numbers to the CPU, right after it has waited for the backward pass.

        :param like: a tensor of the sums' type and device.
        :raises NotFinite: when a gradient is not finite; it names the first such task.
        """
        sums = [[head.grad.sum(dtype=like.dtype) for head in group if head.grad is not None] for group in self.groups]
        zero = like.new_zeros(())
        all_finite(torch.stack([torch.stack([zero, *group]).sum() for group in sums]).tolist())

    def weigh(self, method: Method, step: Step, loss_scale: float) -> None:
        """Weight the gradients as the method's paper does, and divide them by the loss scale.

        :param method: says how it weights heads.
        :param step: has the weights and the losses.
        :param loss_scale: factor of the losses in the backward pass.
        """
        factors = np.ones(len(self.groups))
        if method.heads == "weighted" and step.weights is not None:
            factors = step.weights
        elif method.heads == "log":
            factors = 1.0 / above_zero(step.losses)
        for group, factor in zip(self.groups, factors / loss_scale, strict=True):
            for head in group:
                if head.grad is not None and factor != 1.0:
                    head.grad.mul_(float(factor))


def gram_of_representation(method: Method, graphs: Sequence[Forward], total: torch.Tensor) -> Matrix:
    """Return the inner products of the representation's gradients, by a backward through the heads only.

    :param method: the method that reads them, for the error.
    :param graphs: the K tasks' forwards.
    :param total: the sum of the losses; its graph is retained.
    :returns: (K, K) inner products.
    :raises UsageError: when a task has no representation.
    """
    if not all(graph.representation for graph in graphs):
        raise UsageError(f"method {method.name} reads the gradients of the representation: give representation")
    tensors = [tensor for graph in graphs for tensor in graph.representation]
    gradients = iter(torch.autograd.grad(total, tensors, retain_graph=True, allow_unused=True, materialize_grads=True))
    return gram_of_pieces([[(tensor, next(gradients)) for tensor in graph.representation] for graph in graphs])
