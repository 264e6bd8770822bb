"""The collector without a (K, P) buffer: it adds up inner products layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from mtlbench.contract.observation import Matrix
from mtlbench.engine.packed.joint import Joint
from mtlbench.engine.packed.layout import Layout
from mtlbench.engine.packed.pack import Pack
from mtlbench.engine.packed.rows import norm_backward, write_product
from mtlbench.engine.packed.strategy import portions
from mtlbench.errors import CellError
from mtlbench.solvers.inner_products import as_gram, products

BLOCK = 200
"""Rows at least that are multiplied with others at a time."""
TABLE_BLOCK = 4_000_000
"""Numbers of a table's per-task gradients that are in memory at a time."""
GRAM_COST = 2
"""How much longer a multiplication of K × n by n × K takes than one of large matrices."""


class Lean:
    """Adds up the Gram matrix while the backward pass goes by.

    Where it ``keeps`` each layer's inputs and output gradients, which are as large as the activations,
    :meth:`combine` hands them to :class:`Joint` with the weights that the method made of the Gram matrix.

    :param full: whether the inner products over all shared parameters are wanted.
    :param of: dense parameters over which they are wanted apart, for :meth:`gram_of_some`.
    :param ahead: knows the weights already: the update is written at once, and nothing is kept.
    """

    def __init__(
        self,
        layout: Layout,
        pack: Pack,
        *,
        full: bool = True,
        of: Sequence[nn.Parameter] = (),
        ahead: Joint | None = None,
        keeps: bool = True,
    ) -> None:
        self.layout, self.pack, self.full, self.ahead, self.keeps = layout, pack, full, ahead, keeps
        self._some = {id(parameter) for parameter in of}
        zeros = torch.zeros(pack.count, pack.count, dtype=torch.float64, device=pack.ids.device)
        self._total, self._total_of_some = zeros, zeros.clone()
        self._kept: list[Callable[[Joint], object]] = []
        self._seen: set[int] = set()
        self._scratch = torch.empty(0)
        self._alike = Alike(torch.empty(0, 0), [], plus=0.0)

    def linear(self, layer: nn.Linear, inputs: torch.Tensor, gradient: torch.Tensor) -> None:
        """Add ⟨dYᵢᵀXᵢ, dYⱼᵀXⱼ⟩, the cheaper way: through products of rows, or through the gradients."""
        self._defer(lambda joint: joint.linear(layer, inputs, gradient))
        weight, bias = self._counts(layer.weight), self._counts(layer.bias)
        ranges = self.pack.ranges(len(inputs))
        rows, (outputs, width) = len(inputs), layer.weight.shape
        of_rows = rows**2 * (outputs + width)  # each pair once
        of_gradients = 2 * outputs * width * (rows + GRAM_COST * self.pack.count**2)
        if weight and of_rows < of_gradients:
            together = bias and (id(layer.weight) in self._some) == (id(layer.bias) in self._some)
            given = inputs.to(layer.weight.dtype)  # products of rows of half precision would end at its bounds
            blocks, plus = blocks_of(self.pack, rows), 1.0 if together else 0.0
            if not self._alike.are_of(given, plus):  # queries, keys and values are made of the same rows
                self._alike = Alike(given, blocks, plus)
            self._add(by_rows(self._alike.products, gradient.to(given.dtype), blocks, self.pack), layer.weight)
            bias = bias and not together
        elif weight:
            parts = self._parts(layer.weight)
            for part, (first, last) in zip(parts, ranges, strict=True):
                write_product(part, gradient[first:last], inputs[first:last], add=False)
            self._add(products(parts.flatten(1)), layer.weight)
        if bias:
            self._add(products(self.pack.sums(gradient.to(layer.bias.dtype))), layer.bias)

    def norm(
        self, layer: nn.LayerNorm, inputs: torch.Tensor, gradient: torch.Tensor, statistics: list[torch.Tensor]
    ) -> torch.Tensor:
        """Add the products of the gradients of scale and shift; return the gradient of the inputs."""
        below, of_scale = norm_backward(layer, inputs, gradient, statistics)
        self._defer(lambda joint: joint.scale_and_shift(layer, of_scale, gradient))
        for parameter, rows in ((layer.weight, of_scale), (layer.bias, gradient)):
            if self._counts(parameter):
                self._add(products(self.pack.sums(rows)), parameter)
        return below

    def embedding(self, layer: nn.Embedding, ids: torch.Tensor, gradient: torch.Tensor) -> None:
        """Add the products of the tables' gradients, over the rows that the pack's tokens touch."""
        self._defer(lambda joint: joint.embedding(layer, ids, gradient))
        if not self._counts(layer.weight):
            return
        if len(ids) < GRAM_COST * self.pack.count**2:  # as a layer whose inputs are rows of one 1 each
            blocks = blocks_of(self.pack, len(ids))
            same = [ids[block.own, None] == ids[None, block.others] for block in blocks]
            self._add(by_rows(same, gradient, blocks, self.pack), layer.weight)
            return
        chosen, place = torch.unique(ids, return_inverse=True)
        count, width = self.pack.count, gradient.shape[1]
        place += len(chosen) * self.pack.task_of_row(len(ids))
        block = max(1, TABLE_BLOCK // (count * width))
        for first in range(0, len(chosen), block):
            size = min(block, len(chosen) - first)
            within = place % len(chosen) - first
            inside = ((within >= 0) & (within < size)).nonzero().squeeze(1)
            rows = gradient.new_zeros(count * size, width)
            rows.index_add_(0, (place // len(chosen) * size + within)[inside], gradient[inside])
            self._add(products(rows.view(count, -1)), layer.weight)

    def gram(self) -> Matrix:
        """Return the (K, K) inner products over all shared parameters."""
        return as_gram(self._total)

    def gram_of_some(self) -> Matrix:
        """Return the (K, K) inner products over the parameters that were asked for apart."""
        return as_gram(self._total_of_some)

    @torch.no_grad()
    def combine(self, joint: Joint) -> None:
        """Hand everything kept to the collector that knows the weights."""
        while self._kept:
            self._kept.pop(0)(joint)  # popped, so that its memory goes at once
        joint.finish()

    def _defer(self, hand_over: Callable[[Joint], object]) -> None:
        if self.ahead is not None:
            hand_over(self.ahead)
        elif self.keeps:
            self._kept.append(hand_over)

    def _parts(self, weight: torch.Tensor) -> torch.Tensor:
        """Return (K, out, in) numbers to write a layer's per-task gradients to: memory that all layers use."""
        size = self.pack.count * weight.numel()
        if len(self._scratch) < size:
            self._scratch = weight.detach().new_empty(size)
        return self._scratch[:size].view(self.pack.count, *weight.shape)

    def _counts(self, parameter: torch.Tensor | None) -> bool:
        """Whether a parameter's inner products are wanted."""
        if parameter is None or parameter not in self.layout:
            return False
        if id(parameter) in self._seen:  # ⟨a + b, a + b⟩ is more than ⟨a, a⟩ + ⟨b, b⟩
            raise CellError("a parameter is used twice in one forward: its inner products need engine=loop")
        self._seen.add(id(parameter))
        return self.full or id(parameter) in self._some

    def _add(self, inner: torch.Tensor, parameter: torch.Tensor) -> None:
        if self.full:
            self._total += inner
        if id(parameter) in self._some:
            self._total_of_some += inner


@dataclass(frozen=True)
class Block:
    """Rows of some tasks, one after another, and those that they are multiplied with: their own and earlier tasks'."""

    tasks: slice
    own: slice
    others: slice


def blocks_of(pack: Pack, rows: int) -> list[Block]:
    """Return what is multiplied with what, some tasks at a time: each pair of tasks once."""
    ranges = pack.ranges(rows)
    return [
        Block(
            slice(tasks[0], tasks[-1] + 1),
            slice(ranges[tasks[0]][0], ranges[tasks[-1]][1]),
            slice(ranges[tasks[-1]][1]),
        )
        for tasks in portions(ranges, BLOCK)
    ]


class Alike:
    """The inner products of a layer's input rows, for one layer after another that reads the same.

    :param inputs: (n, in); held, so that nothing else can come to lie in its memory.
    :param plus: added to each: 1 where the layer has a bias too, an input that is always 1.
    """

    def __init__(self, inputs: torch.Tensor, blocks: Sequence[Block], plus: float) -> None:
        self._inputs, self._plus = inputs, plus
        self.products = [inputs[block.own] @ inputs[block.others].T for block in blocks]
        if plus:
            for found in self.products:
                found.add_(plus)

    def are_of(self, inputs: torch.Tensor, plus: float) -> bool:
        """Whether these are the inputs, and not only equal ones."""
        same = inputs.data_ptr() == self._inputs.data_ptr() and inputs.shape == self._inputs.shape
        return same and inputs.stride() == self._inputs.stride() and plus == self._plus


def by_rows(alike: Sequence[torch.Tensor], gradient: torch.Tensor, blocks: Sequence[Block], pack: Pack) -> torch.Tensor:
    """Return Σ (XᵢXⱼᵀ) ∘ (dYᵢdYⱼᵀ) for all pairs of tasks: inner products of gradients that are never formed.

    :param alike: for each block, the inner products of its inputs.
    """
    total = torch.zeros(pack.count, pack.count, dtype=torch.float64, device=gradient.device)
    members, exact = pack.members(len(gradient), gradient.dtype), pack.members(len(gradient), total.dtype)
    for block, inner in zip(blocks, alike, strict=True):
        found = (gradient[block.own] @ gradient[block.others].T).mul_(inner)
        columns = (found @ members[:, block.others].T).double()
        total[block.tasks] = exact[block.tasks, block.own] @ columns
    return total.tril() + total.tril(-1).T
