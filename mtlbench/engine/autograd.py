"""Methods in your own training loop: a ``backward`` that replaces torch's, or the task gradients themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch.utils.weak import WeakIdKeyDictionary

from mtlbench.contract.method import Method, without_trainer
from mtlbench.contract.observation import Matrix, Vector
from mtlbench.engine.flat import views
from mtlbench.engine.library import get_method
from mtlbench.engine.loop import LoopEngine, TaskLoss
from mtlbench.engine.step import Forward, NotFinite, value_of
from mtlbench.errors import UsageError
from mtlbench.solvers.inner_products import gram

_METHODS_OF: Any = WeakIdKeyDictionary()
"""Methods that :func:`backward` created from names, by the first shared parameter: weak keys, freed with the model."""


def backward(
    losses: Sequence[torch.Tensor],
    method: str | Method,
    shared: Sequence[torch.Tensor] | torch.nn.Module,
    *,
    last_shared_layer: Sequence[torch.Tensor] | torch.nn.Module | None = None,
    representation: Sequence[torch.Tensor] | torch.Tensor | None = None,
    further: Sequence[Sequence[torch.Tensor]] = (),
) -> Vector | None:
    """Fill ``.grad`` by a method's rule; call this in place of ``sum(losses).backward()``.

    Shared parameters get the method's update. Every other parameter that a loss reaches (its head) gets that loss's
    own gradient, weighted if the method's paper weights it. As in torch, gradients are added to ``.grad``.
    For a method with ``reads_after`` (FAMO), call ``method.after_step(losses)`` after the optimizer's step. Where a
    method takes logarithms or ratios of losses, a loss of exactly 0 counts as 10⁻⁸, as in :func:`mtlbench.weights`.

    >>> import mtlbench, torch
    >>> shared = torch.nn.Parameter(torch.zeros(2))
    >>> losses = [shared[0], shared[1] - shared[0]]  # their gradients, (1, 0) and (-1, 1), conflict
    >>> mtlbench.backward(losses, "pcgrad", [shared]).tolist()
    [2.0, 1.5]
    >>> shared.grad
    tensor([0.5000, 1.5000])

    :param losses: K scalar losses, each with its graph. The graphs may overlap; they live as long as the losses do.
    :param method: a :class:`Method` that you keep across steps, or a name or spec such as ``"cagrad[c=0.2]"``. The
        state of a method given by name is stored with the first shared parameter.
    :param shared: the shared parameters, or the module that holds them; those that need no gradient are left out.
    :param last_shared_layer: for GradNorm: the layer whose gradient norms it balances, as parameters or a module.
    :param representation: for MGDA-UB: the tensors between the shared parameters and the heads, for all losses.
    :param further: for SDMGrad and MoDo: K losses on each of two more, independent batches.
    :returns: the (K,) weights; ``None`` for a method that returns an update instead.
    :raises UsageError: when there is no loss or no shared parameter; when the method needs the last shared layer, the
        representation or further losses and does not get them; or when two losses reach a parameter that is not
        shared.
    :raises NotFinite: when a loss or a gradient is not finite.
    :raises CellError: when the method does not return K finite weights, or P finite numbers as its update.
    """
    parameters = _parameters(shared)
    if not parameters or not losses:
        raise UsageError("backward needs at least one loss and one shared parameter that requires a gradient")
    if not all(loss.requires_grad for batch in (losses, *further) for loss in batch):
        raise UsageError("backward needs losses with a graph: a loss does not depend on any parameter")
    rule = _method_of(parameters[0], method) if isinstance(method, str) else without_trainer(method)
    last = [] if last_shared_layer is None else _parameters(last_shared_layer)
    if rule.gram_of == "last_shared_layer" and not last:
        raise UsageError(f"{rule.name} reads the last shared layer: pass last_shared_layer= or parameters_of=shared")
    if len(further) != rule.batches - 1 or any(len(batch) != len(losses) for batch in further):
        expected = f"further= {rule.batches - 1} lists of {len(losses)} losses" if rule.batches > 1 else "no further="
        plural = "es" if rule.batches > 1 else ""
        raise UsageError(f"method {rule.name} takes {rule.batches} batch{plural} a step: give {expected}")
    representations = [representation] if isinstance(representation, torch.Tensor) else list(representation or ())
    heads = _heads(losses, parameters)
    filled = [*parameters, *(head for group in heads for head in group)]
    previous = [(parameter, parameter.grad) for parameter in filled]
    batches = [losses, *further]
    tasks = [
        TaskLoss(lambda number, i=i: Forward(batches[number][i], representations), group)  # type: ignore[misc]
        for i, group in enumerate(heads)
    ]
    step = LoopEngine(parameters, last).step(rule, tasks, retain_graph=True)
    for parameter, gradient in previous:
        if gradient is not None and parameter.grad is not None:
            parameter.grad = parameter.grad + gradient
    return step.weights


class TaskGradients:
    """Gradients of K losses, to inspect or to combine with your own weights.

    One backward per loss writes straight into the K × P matrix. The losses' graphs may overlap, and are retained.

    >>> import mtlbench, torch
    >>> shared = torch.nn.Parameter(torch.zeros(2))
    >>> gradients = mtlbench.TaskGradients([shared[0], shared[1] - shared[0]], [shared])
    >>> gradients.jacobian.tolist()
    [[1.0, 0.0], [-1.0, 1.0]]
    >>> gradients.gram.tolist()
    [[1.0, -1.0], [-1.0, 2.0]]
    >>> gradients.combine([2.0, 1.5]).tolist()
    [0.5, 1.5]
    >>> gradients.backward([2.0, 1.5])
    >>> shared.grad
    tensor([0.5000, 1.5000])

    :param losses: K scalar losses, each with its graph.
    :param shared: the shared parameters, or the module that holds them; P is their total size.
    :raises UsageError: when there is no loss or no shared parameter, a loss has no graph, or two losses reach a
        parameter that is not shared.
    :raises NotFinite: when a loss or a gradient is not finite.
    """

    def __init__(self, losses: Sequence[torch.Tensor], shared: Sequence[torch.Tensor] | torch.nn.Module) -> None:
        self.shared = _parameters(shared)
        if not self.shared or not losses:
            raise UsageError("TaskGradients needs at least one loss and one shared parameter that requires a gradient")
        if not all(loss.requires_grad for loss in losses):
            raise UsageError("TaskGradients needs losses with a graph: a loss does not depend on any parameter")
        self.losses: Vector = np.array([value_of(loss, task) for task, loss in enumerate(losses)])
        """(K,) losses."""
        self.heads = _heads(losses, self.shared)
        """For each loss, the parameters outside ``shared`` that it reaches."""
        size = sum(parameter.numel() for parameter in self.shared)
        self.jacobian = self.shared[0].new_empty(len(losses), size).detach()
        """(K, P) gradients of the shared parameters, one row per loss."""
        self._head_gradients: list[list[torch.Tensor]] = []
        for task, (loss, group) in enumerate(zip(losses, self.heads, strict=True)):
            gradients = torch.autograd.grad(
                loss, [*self.shared, *group], retain_graph=True, allow_unused=True, materialize_grads=True
            )
            torch._foreach_copy_(views(self.jacobian[task], self.shared), list(gradients[: len(self.shared)]))
            self._head_gradients.append(list(gradients[len(self.shared) :]))
        self.gram: Matrix = gram(self.jacobian)
        """(K, K) inner products of the gradients, in float64."""
        for task, square in enumerate(np.diagonal(self.gram)):
            if not np.isfinite(square):
                raise NotFinite(task, "gradient", float(square))

    def combine(self, weights: ArrayLike) -> torch.Tensor:
        """Return Σ wᵢ gᵢ.

        :param weights: K numbers wᵢ.
        :returns: (P,) weighted sum, of the parameters' type and device.
        :raises UsageError: when the weights are not K finite numbers.
        """
        factors = np.asarray(weights, dtype=np.float64)
        if factors.shape != self.losses.shape or not np.isfinite(factors).all():
            raise UsageError(f"weights must be {len(self.losses)} finite numbers, got {factors.tolist()}")
        return torch.mv(self.jacobian.T, torch.from_numpy(factors).to(self.jacobian))

    def backward(self, weights: ArrayLike) -> None:
        """Add Σ wᵢ gᵢ to ``.grad`` of the shared parameters, and each loss's own gradient to that of its heads.

        :param weights: K numbers wᵢ.
        :raises UsageError: when the weights are not K finite numbers.
        """
        parts = views(self.combine(weights), self.shared)
        heads = zip(
            [head for group in self.heads for head in group],
            [gradient for group in self._head_gradients for gradient in group],
            strict=True,
        )
        for parameter, gradient in [*zip(self.shared, parts, strict=True), *heads]:
            parameter.grad = gradient.clone() if parameter.grad is None else parameter.grad + gradient


def _parameters(source: Sequence[torch.Tensor] | torch.nn.Module) -> list[torch.Tensor]:
    parameters = source.parameters() if isinstance(source, torch.nn.Module) else source
    return [parameter for parameter in parameters if parameter.requires_grad]


def _method_of(parameter: torch.Tensor, name: str) -> Method:
    methods: dict[str, Method] = _METHODS_OF.setdefault(parameter, {})
    if name not in methods:
        methods[name] = get_method(name)
    return methods[name]


def _heads(losses: Sequence[torch.Tensor], shared: Sequence[torch.Tensor]) -> list[list[torch.Tensor]]:
    """Return, for each loss, the parameters outside ``shared`` that it reaches.

    :raises UsageError: when two losses reach the same one.
    """
    owner = {id(parameter): -1 for parameter in shared}
    heads: list[list[torch.Tensor]] = [[] for _ in losses]
    for index, loss in enumerate(losses):
        for leaf in _leaves(loss):
            first = owner.setdefault(id(leaf), index)
            if first == index:
                heads[index].append(leaf)
            elif first >= 0:
                raise UsageError(
                    f"losses {first} and {index} both reach a parameter of shape {tuple(leaf.shape)} that is not in "
                    "shared: add it to shared"
                )
    return heads


def _leaves(loss: torch.Tensor) -> list[torch.Tensor]:
    """Return the leaf tensors of a loss's graph."""
    visited, leaves, stack = set(), [], [loss.grad_fn]
    while stack:
        node = stack.pop()
        if node is None or node in visited:
            continue
        visited.add(node)
        if hasattr(node, "variable"):
            leaves.append(node.variable)
        stack.extend(parent for parent, _ in node.next_functions)
    return leaves
