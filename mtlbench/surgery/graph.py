"""Read the graphs of K losses: the parameters that each reaches, and what the backward passes have to respect."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from mtlbench.errors import UsageError

REENTRANT = "CheckpointFunctionBackward"
COMPILED = "CompiledFunctionBackward"


@dataclass
class Graph:
    """What the graphs of K losses have in common, and what each has alone.

    :param heads: for each loss, the leaves outside the shared parameters that it alone reaches.
    :param disputed: leaves outside the shared parameters that several losses reach. A compiled module is a single node,
        so every loss on its outputs seems to reach all of its parameters; the gradients tell which does.
    :param overlap: whether the graphs have nodes in common, so that a pass must not free them.
    :param reentrant: whether a reentrant checkpoint hides leaves and refuses ``torch.autograd.grad``.
    :param compiled: whether a compiled module is among the nodes.
    :param half: whether float16 is among the types of the gradients on the way.
    :param sparse: ids of the leaves that get sparse gradients.
    """

    heads: list[list[torch.Tensor]]
    disputed: list[torch.Tensor] = field(default_factory=list)
    overlap: bool = False
    reentrant: bool = False
    compiled: bool = False
    half: bool = False
    sparse: set[int] = field(default_factory=set)

    @classmethod
    def of(
        cls,
        losses: Sequence[torch.Tensor],
        shared: Collection[int],
        heads: Sequence[Sequence[torch.Tensor]] | None = None,
    ) -> Graph:
        """Walk the graphs.

        :param losses: K losses.
        :param shared: ids of the shared parameters.
        :param heads: for each loss, the parameters that belong to it alone, where the user names them.
        :raises UsageError: when two losses reach a parameter that is not shared.
        """
        graph = cls([[] for _ in losses])
        visited: set[Any] = set()
        common: set[Any] = set()
        for own, loss in zip(graph.heads, losses, strict=True):
            own.extend(leaf for leaf in graph._leaves(loss.grad_fn, visited, common) if id(leaf) not in shared)
        graph.overlap = any(not hasattr(node, "variable") for node in common)
        again: set[Any] = set()
        inside = {id(leaf): leaf for node in common for leaf in graph._leaves(node, again, set())}
        graph.disputed = [leaf for key, leaf in inside.items() if key not in shared]
        contested = {id(leaf) for leaf in graph.disputed}
        graph.heads = [[leaf for leaf in own if id(leaf) not in contested] for own in graph.heads]
        if heads is not None:
            graph._assign(heads)
        if graph.disputed and not graph.compiled:
            raise UsageError(graph.dispute(losses, graph.disputed[0]))
        return graph

    def dispute(self, losses: Sequence[torch.Tensor], leaf: torch.Tensor) -> str:
        """Return the message about a leaf that is not shared and that two losses reach.

        :param losses: the K losses.
        :param leaf: the leaf.
        """
        reached = [number for number, loss in enumerate(losses) if id(leaf) in _reached(loss)]
        first, second = (reached + reached)[:2]
        if isinstance(leaf, torch.nn.Parameter):
            what, fix = "a parameter", "add it to shared"
        else:
            what, fix = "a tensor", "add it to shared, or detach it if it is an input"
        return f"losses {first} and {second} both reach {what} of shape {tuple(leaf.shape)} that is not in shared: {fix}"

    @staticmethod
    def nodes(loss: torch.Tensor) -> set[Any]:
        """Return all nodes of a loss's graph.

        :param loss: the loss.
        """
        visited: set[Any] = set()
        Graph([[]])._leaves(loss.grad_fn, visited, set())
        return visited

    def _assign(self, heads: Sequence[Sequence[torch.Tensor]]) -> None:
        """Settle the disputes by what the user named."""
        owner = {id(leaf): number for number, group in enumerate(heads) for leaf in group}
        for leaf in self.disputed:
            if id(leaf) in owner:
                self.heads[owner[id(leaf)]].append(leaf)
        self.disputed = [leaf for leaf in self.disputed if id(leaf) not in owner]
        known = {id(leaf) for group in self.heads for leaf in group}
        for own, group in zip(self.heads, heads, strict=True):  # a reentrant checkpoint hides them from the walk
            own.extend(leaf for leaf in group if self.reentrant and id(leaf) not in known)

    def _leaves(self, root: Any, visited: set[Any], common: set[Any]) -> list[torch.Tensor]:
        """Return the leaves below a node; nodes that an earlier walk visited end up in ``common`` and end this one."""
        leaves, own, stack = [], set(), [root]
        while stack:
            node = stack.pop()
            if node is None or node in own:
                continue
            if node in visited:
                common.add(node)
                continue
            visited.add(node)
            own.add(node)
            if hasattr(node, "variable"):
                leaves.append(node.variable)
            else:
                self._note(node)
            stack.extend(parent for parent, _ in node.next_functions)
        return leaves

    def _note(self, node: Any) -> None:
        name = node.name()
        self.reentrant |= name == REENTRANT
        self.compiled |= name == COMPILED
        self.half |= any(entry.dtype == torch.float16 for entry in node._input_metadata)
        if getattr(node, "_saved_sparse", False):  # the table is the first input of an embedding
            table = node.next_functions[0][0]
            if table is not None and hasattr(table, "variable"):
                self.sparse.add(id(table.variable))


def _reached(loss: torch.Tensor) -> set[int]:
    return {id(leaf) for leaf in Graph([[]])._leaves(loss.grad_fn, set(), set())}


def past(losses: Sequence[torch.Tensor], representation: Sequence[torch.Tensor], shared: Collection[int]) -> bool:
    """Return whether a loss reaches a shared parameter on a way around the representation.

    :param losses: K losses.
    :param representation: tensors between the shared parameters and the heads.
    :param shared: ids of the shared parameters.
    """
    visited = {tensor.grad_fn for tensor in representation}
    graph = Graph([[]])
    return any(id(leaf) in shared for loss in losses for leaf in graph._leaves(loss.grad_fn, visited, set()))
