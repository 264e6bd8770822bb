"""The tensors between the shared parameters and the heads, whose gradients a method may read in place of all others."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import torch

from mtlbench.contract.method import Method
from mtlbench.errors import UsageError
from mtlbench.surgery.graph import nodes, origin, past
from mtlbench.surgery.parameters import described


def representation_of(
    method: Method, given: Any, losses: Sequence[torch.Tensor], shared: Collection[int], *, used: bool
) -> list[torch.Tensor]:
    """Return the representation's tensors, each once; none where they are not used.

    :param method: the method.
    :param given: a tensor, several, or ``None``, as the user gave it.
    :param losses: K losses.
    :param shared: ids of the shared parameters.
    :param used: whether the method reads their gradients.
    :raises UsageError: when it is something else, or its gradients do not lead to those of the shared parameters.
    """
    tensors = [given] if isinstance(given, torch.Tensor) else [] if given is None else given
    if not isinstance(tensors, Iterable) or isinstance(tensors, str | bytes | Mapping | type):
        raise UsageError(f"representation must be a tensor or a list of tensors, not {described(given)}")
    tensors = list({id(tensor): tensor for tensor in tensors}.values())
    if not used:
        return []
    if not tensors:
        raise UsageError(f"method {method.name} reads the gradients of the representation: give representation")
    if any(not isinstance(tensor, torch.Tensor) or tensor.grad_fn is None for tensor in tensors):
        raise UsageError("representation must be tensors computed by the shared module, with their graph")
    if _nested(tensors):
        raise UsageError(
            "one tensor of the representation is computed from another: give only those that the losses are computed "
            "from"
        )
    if past(losses, tensors, shared):
        raise UsageError(
            "a loss reaches a shared parameter on a way around the representation: give all tensors between the shared "
            "parameters and the heads"
        )
    graphs = [nodes(loss) for loss in losses]
    if len(graphs) > 1 and not any(sum(origin(tensor) in graph for graph in graphs) > 1 for tensor in tensors):
        raise UsageError(
            "every loss has a representation of its own, so their gradients are orthogonal and no method can see a "
            "conflict: use gram_of='shared' or 'last_shared_layer' for batches of their own"
        )
    return tensors


def _nested(tensors: Sequence[torch.Tensor]) -> bool:
    """Return whether one of some tensors is computed from another."""
    origins = {origin(tensor) for tensor in tensors}
    return any((origins - {origin(tensor)}) & nodes(tensor) for tensor in tensors)
