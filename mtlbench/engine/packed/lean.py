"""Collector of inner products, layer by layer, without a (K, P) buffer."""

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
"""Largest number of rows multiplied with others at a time; one task's rows stay together even if they are more."""
TABLE_BLOCK = 4_000_000
"""Numbers of a table's per-task gradients held in memory at a time."""
GRAM_COST = 2
"""Time of multiplying K × n by n × K, relative to large matrices with as many multiplications."""


class Lean:
    """Collector that sums the Gram matrix during the backward pass.

    With ``keeps``, it stores each layer's inputs and output gradients, which are as large as the activations, until
    :meth:`combine` passes them to :class:`Joint` with the weights that the method computed from the Gram matrix.

    :param layout: the shared parameters.
    :param pack: the pack of the backward pass.
    :param full: compute the inner products over all shared parameters, for :meth:`gram`.
    :param subset: dense parameters whose inner products to compute separately, for :meth:`gram_of_subset`.
    :param ahead: a collector with known weights, which writes the update at once; nothing is stored then.
    :param keeps: store rows for :meth:`combine`.
    """

    def __init__(
        self,
        layout: Layout,
        pack: Pack,
        *,
        full: bool = True,
        subset: Sequence[nn.Parameter] = (),
        ahead: Joint | None = None,
        keeps: bool = True,
    ) -> None:
        self.layout, self.pack, self.full, self.ahead, self.keeps = layout, pack, full, ahead, keeps
        self._subset = {id(parameter) for parameter in subset}
        zeros = torch.zeros(pack.count, pack.count, dtype=torch.float64, device=pack.ids.device)
        self._total, self._subset_total = zeros, zeros.clone()
        self._deferred: list[Callable[[Joint], object]] = []
        self._counted: set[int] = set()
        self._scratch = torch.empty(0)
        self._input_products = InputProducts(torch.empty(0, 0), [], plus=0.0)

    def linear(self, layer: nn.Linear, inputs: torch.Tensor, gradient: torch.Tensor) -> None:
        """Add ⟨dYᵢᵀXᵢ, dYⱼᵀXⱼ⟩, from products of rows or from the gradients, whichever is cheaper."""
        self._defer(lambda joint: joint.linear(layer, inputs, gradient))
        weight, bias = self._counts(layer.weight), self._counts(layer.bias)
        ranges = self.pack.ranges(len(inputs))
        rows, (outputs, width) = len(inputs), layer.weight.shape
        of_rows = rows**2 * (outputs + width)  # each pair of rows once
        of_gradients = 2 * outputs * width * (rows + GRAM_COST * self.pack.count**2)
        if weight and of_rows < of_gradients:
            joined = bias and (id(layer.weight) in self._subset) == (id(layer.bias) in self._subset)
            typed_inputs = inputs.to(layer.weight.dtype)  # products of half-precision rows would overflow
            blocks, plus = blocks_of(self.pack, rows), 1.0 if joined else 0.0
            if not self._input_products.are_of(typed_inputs, plus):  # queries, keys and values have the same inputs
                self._input_products = InputProducts(typed_inputs, blocks, plus)
            self._add(
                by_rows(self._input_products.products, gradient.to(typed_inputs.dtype), blocks, self.pack), layer.weight
            )
            bias = bias and not joined
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
        if len(ids) < GRAM_COST * self.pack.count**2:  # as a linear layer with one-hot inputs
            blocks = blocks_of(self.pack, len(ids))
            equal = [ids[block.own, None] == ids[None, block.others] for block in blocks]
            self._add(by_rows(equal, gradient, blocks, self.pack), layer.weight)
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

    def gram_of_subset(self) -> Matrix:
        """Return the (K, K) inner products over the parameters of ``subset``."""
        return as_gram(self._subset_total)

    @torch.no_grad()
    def combine(self, joint: Joint) -> None:
        """Pass the stored rows to the collector that has the weights, and free them."""
        while self._deferred:
            self._deferred.pop(0)(joint)  # pop first, so that its memory is freed at once
        joint.finish()

    def _defer(self, hand_over: Callable[[Joint], object]) -> None:
        if self.ahead is not None:
            hand_over(self.ahead)
        elif self.keeps:
            self._deferred.append(hand_over)

    def _parts(self, weight: torch.Tensor) -> torch.Tensor:
        """Return (K, out, in) memory for a layer's per-task gradients; all layers share it."""
        size = self.pack.count * weight.numel()
        if len(self._scratch) < size:
            self._scratch = weight.detach().new_empty(size)
        return self._scratch[:size].view(self.pack.count, *weight.shape)

    def _counts(self, parameter: torch.Tensor | None) -> bool:
        """Return whether to compute a parameter's inner products.

        :raises CellError: when the parameter came before.
        """
        if parameter is None or parameter not in self.layout:
            return False
        if id(parameter) in self._counted:  # ⟨a + b, a + b⟩ ≠ ⟨a, a⟩ + ⟨b, b⟩
            raise CellError("a parameter is used twice in one forward: its inner products need engine=loop")
        self._counted.add(id(parameter))
        return self.full or id(parameter) in self._subset

    def _add(self, inner: torch.Tensor, parameter: torch.Tensor) -> None:
        if self.full:
            self._total += inner
        if id(parameter) in self._subset:
            self._subset_total += inner


@dataclass(frozen=True)
class Block:
    """Rows of consecutive tasks, and the rows to multiply them with.

    :param tasks: the tasks.
    :param own: their rows.
    :param others: the rows of these and of all earlier tasks.
    """

    tasks: slice
    own: slice
    others: slice


def blocks_of(pack: Pack, rows: int) -> list[Block]:
    """Split the products of rows into blocks of consecutive tasks, so that each pair of tasks occurs once.

    :param pack: the pack of the rows.
    :param rows: the number of rows: one per token or one per sequence.
    """
    ranges = pack.ranges(rows)
    return [
        Block(
            slice(tasks[0], tasks[-1] + 1),
            slice(ranges[tasks[0]][0], ranges[tasks[-1]][1]),
            slice(ranges[tasks[-1]][1]),
        )
        for tasks in portions(ranges, BLOCK)
    ]


class InputProducts:
    """Inner products of a layer's input rows, reused by consecutive layers with the same input.

    :param inputs: (n, in) rows; a reference is held, so that no other tensor takes their memory.
    :param blocks: the products to compute.
    :param plus: number added to each product: 1 for a layer with a bias, which is an input that is always 1.
    """

    def __init__(self, inputs: torch.Tensor, blocks: Sequence[Block], plus: float) -> None:
        self._inputs, self._plus = inputs, plus
        self.products = [inputs[block.own] @ inputs[block.others].T for block in blocks]
        if plus:
            for product in self.products:
                product.add_(plus)

    def are_of(self, inputs: torch.Tensor, plus: float) -> bool:
        """Return whether the products are of this very memory, and not just of equal numbers."""
        same = inputs.data_ptr() == self._inputs.data_ptr() and inputs.shape == self._inputs.shape
        return same and inputs.stride() == self._inputs.stride() and plus == self._plus


def by_rows(
    input_products: Sequence[torch.Tensor], gradient: torch.Tensor, blocks: Sequence[Block], pack: Pack
) -> torch.Tensor:
    """Return Σ (XᵢXⱼᵀ) ∘ (dYᵢdYⱼᵀ) for all pairs of tasks: the gradients' inner products, without the gradients.

    :param input_products: for each block, the inner products of its input rows.
    :param gradient: (n, out) gradient of the outputs.
    :param blocks: the blocks of rows.
    :param pack: the pack of the rows.
    :returns: (K, K) inner products, in double precision.
    """
    total = torch.zeros(pack.count, pack.count, dtype=torch.float64, device=gradient.device)
    members, exact = pack.members(len(gradient), gradient.dtype), pack.members(len(gradient), total.dtype)
    for block, inner in zip(blocks, input_products, strict=True):
        pairs = (gradient[block.own] @ gradient[block.others].T).mul_(inner)
        columns = (pairs @ members[:, block.others].T).double()
        total[block.tasks] = exact[block.tasks, block.own] @ columns
    return total.tril() + total.tril(-1).T
