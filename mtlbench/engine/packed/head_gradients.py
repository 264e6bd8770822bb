"""What belongs to single tasks: the heads' gradients, and the gradients of the representation that heads read."""

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
    """The parameters of each task alone. One backward of Σ Lₖ gives each its own task's plain gradient."""

    def __init__(self, groups: Sequence[Sequence[nn.Parameter]]) -> None:
        self.groups = [list(group) for group in groups]

    def clear(self) -> None:
        """Get ready for the first backward of a batch; those of its other parts add up."""
        for group in self.groups:
            for parameter in group:
                parameter.grad = None

    def complete(self) -> None:
        """Give a gradient of 0 to what no loss reached: as in the loop engine, so that optimizers treat it alike."""
        for group in self.groups:
            for parameter in group:
                if parameter.grad is None and parameter.requires_grad:
                    parameter.grad = torch.zeros_like(parameter)

    def check(self, like: torch.Tensor) -> None:
        """Check the gradients: K numbers to the CPU, right after a transfer that waited for the same backward pass.

        :raises NotFinite: naming the first task that has one which is not finite.
        """
        sums = [[head.grad.sum(dtype=like.dtype) for head in group if head.grad is not None] for group in self.groups]
        zero = like.new_zeros(())
        all_finite(torch.stack([torch.stack([zero, *group]).sum() for group in sums]).tolist())

    def weigh(self, method: Method, step: Step, loss_scale: float) -> None:
        """Give the gradients the weights that the method's paper gives them, and take the loss scale away."""
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
    """Return the inner products of the representation's gradients: a backward through the heads alone.

    :param total: the sum of the losses, whose graph is kept.
    """
    if not all(graph.representation for graph in graphs):
        raise UsageError(f"method {method.name} reads the gradients of the representation: give representation")
    tensors = [tensor for graph in graphs for tensor in graph.representation]
    found = iter(torch.autograd.grad(total, tensors, retain_graph=True, allow_unused=True, materialize_grads=True))
    return gram_of_pieces([[(tensor, next(found)) for tensor in graph.representation] for graph in graphs])
