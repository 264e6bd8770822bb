"""Measure the gradients of K losses without touching the training: no ``.grad``, no freed graph, no random number."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import torch

from mtlbench.contract.observation import Matrix
from mtlbench.engine.flat import views
from mtlbench.errors import UsageError, is_out_of_memory, said
from mtlbench.solvers.inner_products import gram

REENTRANT = "activation checkpointing needs use_reentrant=False"


class Shared:
    """The parameters to watch, listed anew at every look: training may freeze or thaw some.

    :param source: the parameters, or the module that holds them.
    :raises UsageError: when none requires a gradient, or some cannot be measured.
    """

    def __init__(self, source: Sequence[torch.Tensor] | torch.nn.Module) -> None:
        self._source = source if isinstance(source, torch.nn.Module) else list(source)
        self.checked = False
        """Whether a look has found that no layer hides its parameters from the graph."""
        if not self.parameters():
            raise UsageError("nothing to watch: no parameter requires a gradient; give the model's shared part")

    def parameters(self) -> list[torch.Tensor]:
        """Return the parameters that require a gradient, each once.

        :raises UsageError: for parameters that are sharded or complex.
        """
        listed = self._source.parameters() if isinstance(self._source, torch.nn.Module) else self._source
        trained = list({id(parameter): parameter for parameter in listed if parameter.requires_grad}.values())
        for parameter in trained:
            kind = type(parameter).__name__
            if kind in ("DTensor", "FlatParameter") or hasattr(parameter, "full_tensor") or hasattr(parameter, "ds_id"):
                raise UsageError("sharded parameters (FSDP, ZeRO 3, tensor parallel) cannot be watched: use DDP")
            if parameter.is_complex() or not parameter.is_leaf:
                raise UsageError("shared must be real parameters: one is complex, or computed from others")
        return trained

    def buffers(self) -> list[tuple[str, torch.Tensor, int]]:
        """Return name, buffer and version of the module's buffers; torch raises the version when it writes to one."""
        if not isinstance(self._source, torch.nn.Module):
            return []
        return [(name, buffer, buffer._version) for name, buffer in self._source.named_buffers()]


def task_gradients(losses: Sequence[torch.Tensor], tasks: Sequence[str], shared: Shared) -> torch.Tensor:
    """Return the (K, P) gradients of the losses; parameters that a loss does not reach have a gradient of zero.

    :param losses: K scalar losses, each with its graph, which stays whole.
    :param tasks: (K,) names, for errors.
    :param shared: the parameters, of P numbers in all.
    :raises UsageError: when a gradient cannot be computed beside the training: the graph was freed, or recomputing
        activations fails or changes the module's buffers.
    """
    parameters, buffers = shared.parameters(), shared.buffers()
    if not parameters:
        raise UsageError("nothing to watch any more: no watched parameter requires a gradient; close the watch")
    double = all(parameter.dtype == torch.float64 for parameter in parameters)
    rows = torch.zeros(
        len(losses),
        sum(parameter.numel() for parameter in parameters),
        dtype=torch.float64 if double else torch.float32,
        device=parameters[0].device,
    )
    for row, loss, task in zip(rows, losses, tasks, strict=True):
        try:
            gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            raise UsageError(f"cannot measure the gradient of task {task}: {_reason(error)}") from None
        if any(gradient is None for gradient in gradients) and not shared.checked and _hides_parameters(loss):
            raise UsageError(f"cannot measure the gradient of task {task}: {REENTRANT}")
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


def _hides_parameters(loss: torch.Tensor) -> bool:
    """Return whether a part of a loss's graph is computed again in the backward pass by a graph of its own."""
    visited, stack = set(), [loss.grad_fn]
    while stack:
        node = stack.pop()
        if node is not None and node not in visited:
            visited.add(node)
            if type(node).__name__ == "CheckpointFunctionBackward":
                return True
            stack.extend(before for before, _ in node.next_functions)
    return False


def _reason(error: RuntimeError) -> str:
    message = str(error)
    if "second time" in message:
        return "its graph is freed already; call watch(losses) before backward()"
    if "use_reentrant" in message or "not compatible with .grad()" in message:
        return REENTRANT
    if "donated buffers" in message:
        return "torch.compile reuses its buffers; set torch._functorch.config.donated_buffer = False"
    return said(error)


def measure(losses: Sequence[torch.Tensor], tasks: Sequence[str], shared: Shared) -> tuple[torch.Tensor, Matrix]:
    """Return the (K, P) gradients and their (K, K) inner products, in full precision whatever autocast is active.

    :param losses: as :func:`task_gradients`.
    :param tasks: as there.
    :param shared: as there.
    """
    device = losses[0].device.type
    available = torch.amp.is_autocast_available(device)
    with torch.autocast(device, enabled=False) if available else contextlib.nullcontext():
        rows = task_gradients(losses, tasks, shared)
        return rows, gram(rows)
