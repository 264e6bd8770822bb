"""A ``backward`` that replaces torch's, and the task gradients themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch.utils.weak import WeakIdKeyDictionary

from mtlbench.contract.method import Method
from mtlbench.contract.numbers import as_numbers, written
from mtlbench.contract.observation import Matrix, Vector
from mtlbench.engine.library import get_method
from mtlbench.errors import UsageError
from mtlbench.surgery.gradient_step import GradientStep
from mtlbench.surgery.graph import Graph, refuse_unreached
from mtlbench.surgery.layout import layout_of
from mtlbench.surgery.losses import task_losses
from mtlbench.surgery.parameters import shared_parameters
from mtlbench.surgery.ranks import Ranks
from mtlbench.surgery.rows import Rows
from mtlbench.surgery.step_input import StepInput
from mtlbench.surgery.surgery import Surgery


@dataclass
class _Kept:
    """What calls of :func:`backward` keep with a model: the methods created from names, the rows, and tasks' names."""

    methods: dict[str, Method] = field(default_factory=dict)
    rows: Rows | None = None
    names: Any = field(default_factory=WeakIdKeyDictionary)
    """The tasks' names by the method that numbers them."""


_KEPT: Any = WeakIdKeyDictionary()
"""By the first shared parameter: weak keys, so all goes with the model."""


def backward(
    losses: Any,
    method: str | Method,
    shared: Any,
    *,
    last_shared_layer: Any = None,
    representation: Sequence[torch.Tensor] | torch.Tensor | None = None,
    further: Sequence[Any] = (),
    data_parallel: Any = "auto",
) -> Vector | None:
    """Fill ``.grad`` by a method's rule; call this in place of ``sum(losses).backward()``.

    One call of :class:`Surgery` and of its loss's ``backward()``: shared parameters get the method's update, every
    other parameter that a loss reaches (its head) that loss's own gradient, weighted if the method's paper weights it.
    As in torch, gradients are added to ``.grad``, and a parameter that no loss reaches gets none. The state of a method
    given by name, and the memory for the task gradients, are kept with the first shared parameter. For a method with
    ``reads_after`` (FAMO), call ``method.after_step(losses)`` after the optimizer's step.

    >>> import mtlbench, torch
    >>> shared = torch.nn.Parameter(torch.zeros(2))
    >>> losses = [shared[0], shared[1] - shared[0]]  # their gradients, (1, 0) and (-1, 1), conflict
    >>> mtlbench.backward(losses, "pcgrad", [shared]).tolist()
    [2.0, 1.5]
    >>> shared.grad
    tensor([0.5000, 1.5000])

    :param losses: K scalar losses with their graphs, as for :meth:`Surgery.loss`.
    :param method: a :class:`Method` that you keep across steps, or a name or spec such as ``"cagrad[c=0.2]"``.
    :param shared: the shared parameters, or the module that holds them; those that need no gradient are left out.
    :param last_shared_layer: for GradNorm: the layer whose gradient norms it balances, as parameters or a module.
    :param representation: for MGDA-UB: the tensors between the shared parameters and the heads, for all losses.
    :param further: for SDMGrad and MoDo: K losses on each of two more, independent batches.
    :param data_parallel: the processes to average task gradients over, as for :class:`Surgery`.
    :returns: the (K,) weights; ``None`` for a method that returns an update instead.
    :raises UsageError: when an argument does not fit, or two losses reach a parameter that is not shared.
    :raises NotFinite: when a loss or a gradient is not finite.
    :raises CellError: when the method does not return K finite weights, or P finite numbers as its update.
    """
    parameters = shared_parameters(shared)
    kept: _Kept = _KEPT.setdefault(next(iter(parameters.values())), _Kept())
    if isinstance(method, str):
        if method not in kept.methods:
            kept.methods[method] = get_method(method)
        method = kept.methods[method]
    names = kept.names.get(method) if isinstance(method, Method) else None  # Surgery refuses anything else
    surgery = Surgery(parameters, method, tasks=names, last_shared_layer=last_shared_layer, data_parallel=data_parallel)
    surgery.rows = kept.rows
    surgery.loss(losses, representation=representation, further=further).backward()  # type: ignore[no-untyped-call]
    kept.rows = surgery.rows
    if surgery.task_names is not None:
        kept.names[surgery.method] = surgery.task_names
    return surgery.weights


class TaskGradients:
    """Gradients of K losses, to inspect or to combine with your own weights.

    One backward pass per loss writes into the K × P matrix. The losses' graphs may overlap.

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

    :param losses: K scalar losses with their graphs.
    :param shared: the shared parameters, or the module that holds them; P is their total size.
    :raises UsageError: when there is no loss or no shared parameter, a loss has no graph, or two losses reach a
        parameter that is not shared.
    :raises NotFinite: when a loss or a gradient is not finite.
    """

    def __init__(self, losses: Any, shared: Any) -> None:
        named = {name: p for name, p in shared_parameters(shared).items() if p.requires_grad}
        batch = task_losses(losses)
        if not batch.complete:
            raise UsageError("TaskGradients needs every loss: leave out those that are None")
        self.shared = list(named.values())
        ids = {id(parameter) for parameter in self.shared}
        refuse_unreached(batch.tensors, ids, batch.labels)
        graph = Graph.of(batch.tensors, ids, labels=batch.labels)
        step = StepInput(batch, graph, named, [], [], [], None, Ranks())
        self._rows = Rows(layout_of(self.shared), batch.tasks)
        self._heads = GradientStep(get_method("sum")).collect(step, self._rows)
        numbers = step.host(*self._heads.norms())
        step.check(numbers[: batch.tasks], numbers[batch.tasks :], self._heads.tasks)
        self.losses: Vector = numbers[: batch.tasks]
        """(K,) losses."""
        owned = list(zip(self._heads.tasks, self._heads.parameters, strict=True))
        self.heads = [[leaf for owner, leaf in owned if owner == task] for task in range(batch.tasks)]
        """For each loss, the parameters outside ``shared`` that it reaches."""
        self.jacobian = self._rows.matrix()
        """(K, P) gradients of the shared parameters, one row per loss."""
        self.gram: Matrix = self._rows.gram()
        """(K, K) inner products of the gradients, in float64."""
        for task, square in enumerate(np.diagonal(self.gram)):
            if not np.isfinite(square):
                culprit = self._rows.culprit(task)
                raise step.not_finite(
                    task, "gradient", float(square), None if culprit is None else list(named)[culprit]
                )

    def combine(self, weights: ArrayLike) -> torch.Tensor:
        """Return Σ wᵢ gᵢ.

        :param weights: K numbers wᵢ.
        :returns: (P,) weighted sum, of the jacobian's type and device.
        :raises UsageError: when the weights are not K finite numbers.
        """
        return torch.mv(self.jacobian.T, torch.from_numpy(self._factors(weights)).to(self.jacobian))

    def backward(self, weights: ArrayLike) -> None:
        """Add Σ wᵢ gᵢ to ``.grad`` of the shared parameters, and each loss's own gradient to that of its heads.

        :param weights: K numbers wᵢ.
        :raises UsageError: when the weights are not K finite numbers.
        """
        factors = self._factors(weights)
        update, positions = self._rows.split(self.combine(weights)), self._rows.reached
        reached = [pair for i, pair in enumerate(zip(self.shared, update, strict=True)) if i in positions]
        heads = zip(self._heads.parameters, self._heads.times(np.ones_like(factors)), strict=True)
        for parameter, gradient in [*reached, *heads]:
            parameter.grad = gradient.clone() if parameter.grad is None else parameter.grad + gradient

    def _factors(self, weights: ArrayLike) -> Vector:
        factors = as_numbers(weights, "weights")
        if factors.shape != self.losses.shape or not np.isfinite(factors).all():
            raise UsageError(f"weights must be {len(self.losses)} finite numbers, not {written(factors)}")
        return factors
