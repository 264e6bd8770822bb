"""Measure the gradients of K losses without touching the training: no ``.grad``, no freed graph, no random number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from mtlbench.contract.observation import Matrix
from mtlbench.engine.flat import views
from mtlbench.errors import UsageError, is_out_of_memory, said
from mtlbench.solvers.inner_products import gram
from mtlbench.surgery.graph import REENTRANT, nodes
from mtlbench.surgery.parameters import Source, shared_parameters
from mtlbench.surgery.passes import gradients_of, without_autocast


class Shared:
    """The parameters to watch, listed anew at every look: training may freeze or thaw some.

    :param source: the parameters, or the module that holds them.
    :raises UsageError: when none requires a gradient, or some cannot be measured.
    """

    def __init__(self, source: Any) -> None:
        self.source = source if isinstance(source, torch.nn.Module | torch.Tensor) else list(source)
        self._named = Source("shared", self.source)
        self.checked = False
        """Whether a look has found that no layer hides its parameters from the graph."""
        shared_parameters(self._named)

    def parameters(self) -> list[torch.Tensor]:
        """Return the parameters that require a gradient, each once."""
        return [parameter for parameter in self._named.read().values() if parameter.requires_grad]

    def buffers(self) -> list[tuple[str, torch.Tensor, int]]:
        """Return name, buffer and version of the module's buffers; torch raises the version when it writes to one."""
        if not isinstance(self.source, torch.nn.Module):
            return []
        return [(name, buffer, buffer._version) for name, buffer in self.source.named_buffers()]


def measure(losses: Sequence[torch.Tensor], tasks: Sequence[str], shared: Shared) -> tuple[torch.Tensor, Matrix]:
    """Return the (K, P) gradients and their (K, K) inner products, in full precision whatever autocast is active.

    Parameters that a loss does not reach have a gradient of zero.

    :param losses: K scalar losses, each with its graph, which stays whole.
    :param tasks: (K,) names, for errors.
    :param shared: the parameters, of P numbers in all.
    :raises UsageError: when a gradient cannot be computed beside the training: the graph was freed, or recomputing
        activations fails or changes the module's buffers.
    """
    with without_autocast(losses):
        rows = _task_gradients(losses, tasks, shared)
        return rows, gram(rows)


def _task_gradients(losses: Sequence[torch.Tensor], tasks: Sequence[str], shared: Shared) -> torch.Tensor:
    parameters, buffers = shared.parameters(), shared.buffers()
    if not parameters:
        raise UsageError("nothing to watch any more: no shared parameter requires a gradient; close the watch")
    double = all(parameter.dtype == torch.float64 for parameter in parameters)
    rows = torch.zeros(
        len(losses),
        sum(parameter.numel() for parameter in parameters),
        dtype=torch.float64 if double else torch.float32,
        device=parameters[0].device,
    )
    for row, loss, task in zip(rows, losses, tasks, strict=True):
        gradients = _gradients(loss, parameters, task, check=not shared.checked)
        for place, gradient in zip(views(row, parameters), gradients, strict=True):
            if gradient is not None:
                place.copy_(gradient.to_dense() if gradient.is_sparse else gradient)
    shared.checked = True
    changed = [name for name, buffer, version in buffers if buffer._version != version]
    if changed:
        raise UsageError(
            f"a look would change the training: its backward pass writes to buffer {changed[0]}, as under activation "
            "checkpointing of a batch norm; do not checkpoint that layer, or do not watch"
        )
    return rows


def _gradients(
    loss: torch.Tensor, parameters: Sequence[torch.Tensor], task: str, *, check: bool
) -> list[torch.Tensor | None]:
    """Return a loss's gradients.

    :param check: whether to look for layers that hide parameters.
    :raises UsageError: naming the task, when they cannot be computed.
    """
    failed = f"cannot measure the gradient of task {task}"
    if check and any(type(node).__name__ == REENTRANT for node in nodes(loss)):
        raise UsageError(f"{failed}: activation checkpointing needs use_reentrant=False")
    try:
        return gradients_of([loss], parameters, [None], retain_graph=True)
    except UsageError as error:
        raise UsageError(f"{failed}: {error}; call watch(losses) before backward()") from None
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        raise UsageError(f"{failed}: {said(error)}") from None
