"""Read the graphs of K losses: the parameters that each reaches, and what the backward passes have to respect."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.autograd.graph import get_gradient_edge

from mtlbench.errors import UsageError

REENTRANT = "CheckpointFunctionBackward"
COMPILED = "CompiledFunctionBackward"
SINK = "_DDPSinkBackward"
"""The node through which ``DistributedDataParallel`` leads all outputs of a forward, each on its own."""
JOINING = {COMPILED, "StackBackward0", "CatBackward0"}
"""Nodes that join tensors of several tasks: a loss that reaches one seems to reach all that is behind it."""
LEAF = "AccumulateGrad"
CASTS = {COMPILED, "ToCopyBackward0"}
"""Nodes at which a graph can change to float16, besides leaves."""
COMMON = -1
"""Stands for several losses among the numbers of losses."""
IGNORED = (
    "an input that requires a gradient, and that several losses reach, gets none from surgery (it may be the output of "
    "frozen layers): add it to shared if it is trained, or detach it"
)


@dataclass
class Graph:
    """What the graphs of K losses have in common, and what each has alone.

    :param heads: for each loss, the leaves outside the shared parameters that it alone reaches.
    :param disputed: leaves outside the shared parameters that several losses seem to reach, because they are behind a
        compiled module, which is a single node, or behind stacked outputs or losses. The gradients tell which does.
    :param overlap: whether the graphs have nodes in common, so that a pass must not free them.
    :param reentrant: whether a reentrant checkpoint hides leaves and refuses ``torch.autograd.grad``.
    :param half: whether float16 is among the types of the gradients on the way.
    :param joined: whether only the gradients can settle a dispute.
    :param labels: the losses' names or numbers, for messages.
    """

    heads: list[list[torch.Tensor]]
    disputed: list[torch.Tensor] = field(default_factory=list)
    overlap: bool = False
    reentrant: bool = False
    half: bool = False
    joined: bool = False
    labels: Sequence[str] = ()

    @classmethod
    def of(
        cls,
        losses: Sequence[torch.Tensor],
        shared: Collection[int],
        heads: Sequence[Sequence[torch.Tensor]] | None = None,
        labels: Sequence[str] | None = None,
        *,
        refuse: bool = True,
    ) -> Graph:
        """Walk the graphs.

        :param losses: K losses.
        :param shared: ids of the shared parameters.
        :param heads: for each loss, the parameters that belong to it alone, where the user names them.
        :param labels: the losses' names or numbers, for messages.
        :param refuse: whether to refuse disputed leaves, and to warn of inputs.
        :raises UsageError: when two losses reach a parameter that is not shared, or a loss reaches one that the user
            named as another's.
        """
        graph = cls([[] for _ in losses], labels=labels or [str(number) for number in range(len(losses))])
        owners, leaves = graph._walk(losses)
        for node in leaves:
            leaf, owner = node.variable, owners[node]
            graph.half |= leaf.dtype == torch.float16
            if id(leaf) not in shared and leaf.requires_grad:  # or it was frozen after the forward
                (graph.disputed if owner == COMMON else graph.heads[owner]).append(leaf)
        if refuse and not all(isinstance(leaf, torch.nn.Parameter) for leaf in graph.disputed):
            warnings.warn(IGNORED, stacklevel=4)  # the line that calls Surgery.loss
            graph.disputed = [leaf for leaf in graph.disputed if isinstance(leaf, torch.nn.Parameter)]
        if heads is not None:
            graph._assign(heads)
        if refuse and graph.disputed and not graph.joined:
            raise UsageError(graph.dispute(losses, max(graph.disputed, key=torch.Tensor.numel)))
        return graph

    def dispute(self, losses: Sequence[torch.Tensor], leaf: torch.Tensor) -> str:
        """Return the message about a leaf that is not shared and that two losses reach.

        :param losses: the K losses.
        :param leaf: the leaf.
        """
        reached = [label for label, loss in zip(self.labels, losses, strict=True) if reaches(loss, {id(leaf)})]
        first, second = (reached + reached)[:2]
        return (
            f"losses {first} and {second} both reach a parameter of shape {tuple(leaf.shape)} that is not in shared: "
            "add it to shared (or make a new Surgery, if it replaced a shared one)"
        )

    def _assign(self, heads: Sequence[Sequence[torch.Tensor]]) -> None:
        """Settle the disputes by what the user named."""
        owner = {id(leaf): number for number, group in enumerate(heads) for leaf in group}
        for number, own in enumerate(self.heads):
            for leaf in own:
                if owner.get(id(leaf), number) != number:
                    named = self.labels[owner[id(leaf)]]
                    raise UsageError(
                        f"heads gives task {named} a parameter of shape {tuple(leaf.shape)}, but loss "
                        f"{self.labels[number]} reaches it: list the heads in the tasks' order"
                    )
        for leaf in self.disputed:
            if id(leaf) in owner:
                self.heads[owner[id(leaf)]].append(leaf)
        self.disputed = [leaf for leaf in self.disputed if id(leaf) not in owner]
        known = {id(leaf) for group in self.heads for leaf in group}
        for own, group in zip(self.heads, heads, strict=True):  # a reentrant checkpoint hides them from the walk
            own.extend(leaf for leaf in group if self.reentrant and id(leaf) not in known)

    def _walk(self, losses: Sequence[torch.Tensor]) -> tuple[dict[Any, int], list[Any]]:
        """Return the number of the loss that reaches each node, or :data:`COMMON`, and the nodes of leaves.

        All losses go down step by step, so that nodes in common are found before what is below them is walked twice.
        """
        owners: dict[Any, int] = {}
        leaves: list[Any] = []
        queue = deque((origin(loss), number) for number, loss in enumerate(losses))
        sinks = torch.distributed.is_available() and torch.distributed.is_initialized()
        while queue:
            node, number = queue.popleft()
            known = owners.get(node)
            if known is None:
                kind = type(node).__name__  # the same as node.name(), in a tenth of the time
                if kind == LEAF:
                    leaves.append(node)
                elif kind == REENTRANT:
                    self.reentrant = True
                elif kind in CASTS:
                    self.half |= any(entry.dtype == torch.float16 for entry in node._input_metadata)
            elif known in (number, COMMON):
                continue
            else:
                number, kind = COMMON, type(node).__name__
                self.overlap |= kind != LEAF
                self.joined |= kind in JOINING
            owners[node] = number
            for edge in node.next_functions:
                child = _behind(*edge) if sinks else edge[0]
                if child is not None:
                    queue.append((child, number))
        return owners, leaves


def nodes(tensor: torch.Tensor, ends: Collection[Any] = ()) -> set[Any]:
    """Return all nodes of a tensor's graph.

    :param tensor: the tensor.
    :param ends: nodes that the walk does not pass.
    """
    visited, stack = set(), [origin(tensor)]
    while stack:
        node = stack.pop()
        if node is not None and node not in visited and node not in ends:
            visited.add(node)
            stack.extend(_behind(*edge) for edge in node.next_functions)
    return visited


def reaches(loss: torch.Tensor, leaves: Collection[int], leading: set[Any] | None = None) -> bool:
    """Return whether a loss reaches one of some leaves; the walk ends at the first.

    :param loss: the loss.
    :param leaves: their ids.
    :param leading: nodes that are known to lead to these leaves; those on the way join them, so that the walk of
        another loss stops at them.
    """
    leading, start = set() if leading is None else leading, origin(loss)
    before, stack = {start: None}, [start] if start is not None else []
    while stack:
        node = stack.pop()
        if node in leading or (type(node).__name__ == LEAF and id(node.variable) in leaves):
            while node is not None:
                leading.add(node)
                node = before[node]
            return True
        for edge in node.next_functions:
            child = _behind(*edge)
            if child is not None and child not in before:
                before[child] = node
                stack.append(child)
    return False


def refuse_unreached(losses: Sequence[torch.Tensor], shared: Collection[int], labels: Sequence[str]) -> None:
    """Refuse a loss without a gradient to combine.

    :param losses: K losses.
    :param shared: ids of the shared parameters.
    :param labels: the losses' names or numbers.
    :raises UsageError: when a loss reaches no shared parameter.
    """
    leading: set[Any] = set()
    for label, loss in zip(labels, losses, strict=True):
        if reaches(loss, shared, leading):
            continue
        if any(type(node).__name__ == REENTRANT for node in nodes(loss)):  # which hides leaves
            continue
        raise UsageError(
            f"loss {label} reaches no shared parameter that requires a gradient (is something on the way detached, or "
            "was a parameter replaced?): if this is meant, leave it out, and add it to the loss that Surgery.loss() "
            "returns"
        )


def origin(tensor: torch.Tensor) -> Any:
    """Return the node that computed a tensor, behind those that hand tensors on.

    :param tensor: a tensor with a graph.
    """
    return _behind(*get_gradient_edge(tensor)[:2])  # a leaf has a node too


def _behind(node: Any, output: int) -> Any:
    while node is not None and type(node).__name__ == SINK:
        node, output = node.next_functions[output]
    return node


def past(losses: Sequence[torch.Tensor], representation: Sequence[torch.Tensor], shared: Collection[int]) -> bool:
    """Return whether a loss reaches a shared parameter on a way around the representation.

    :param losses: K losses.
    :param representation: tensors between the shared parameters and the heads.
    :param shared: ids of the shared parameters.
    """
    ends = {origin(tensor) for tensor in representation}
    return any(id(getattr(node, "variable", None)) in shared for loss in losses for node in nodes(loss, ends))
