"""Collector of the weighted sum of gradients, for weights known before the backward pass."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from mtlbench.engine.packed.layout import Layout, Touched
from mtlbench.engine.packed.pack import Pack
from mtlbench.engine.packed.rows import norm_backward, write_product


class Joint:
    """Collector that writes Σ wₖ gₖ straight into an update, with each output gradient's row weighted by its task.

    :param layout: the shared parameters.
    :param update: (P,) memory of the update.
    :param touched: the rows of tables that the last step wrote to ``update``; they are cleared.
    :param pack: the pack of the backward pass.
    :param weights: (K,) the wₖ; ``None`` where all are 1, which saves the products.
    """

    def __init__(
        self, layout: Layout, update: torch.Tensor, touched: Touched, pack: Pack, weights: torch.Tensor | None
    ) -> None:
        self.layout, self.update, self.touched, self.pack, self.weights = layout, update, touched, pack, weights
        self._written: set[int] = set()
        for parameter in layout.tables:
            touched.clear(parameter, layout.view(update, parameter), 0)

    def linear(self, layer: nn.Linear, inputs: torch.Tensor, gradient: torch.Tensor) -> None:
        """Write (w ∘ dY)ᵀX, and the sum of w ∘ dY."""
        weighted = self._weighted(gradient)
        if layer.weight in self.layout:
            view, again = self.layout.view(self.update, layer.weight), self._again(layer.weight)
            if gradient.dtype != view.dtype and self.weights is not None:
                self._add_products(view, gradient, inputs, again)
            else:
                write_product(view, weighted, inputs, add=again)
            if self.layout.is_table(layer.weight):  # tied to an embedding: every row is written
                self.touched.mark(layer.weight, None)
        self._add(layer.bias, lambda: weighted.sum(dim=0, dtype=self.update.dtype))

    def norm(
        self, layer: nn.LayerNorm, inputs: torch.Tensor, gradient: torch.Tensor, statistics: list[torch.Tensor]
    ) -> torch.Tensor:
        """Write the gradients of scale and shift; return the gradient of the inputs, without weights."""
        below, of_scale = norm_backward(layer, inputs, gradient, statistics)
        self.scale_and_shift(layer, of_scale, gradient)
        return below

    def scale_and_shift(self, layer: nn.LayerNorm, of_scale: torch.Tensor, of_shift: torch.Tensor) -> None:
        """Write the gradients of a norm's scale and shift, from each row's contribution to them."""
        self._add(layer.weight, lambda: self._weighted(of_scale).sum(dim=0))
        self._add(layer.bias, lambda: self._weighted(of_shift).sum(dim=0))

    def embedding(self, layer: nn.Embedding, ids: torch.Tensor, gradient: torch.Tensor) -> None:
        """Add w ∘ dY to the rows of the tokens."""
        view = self.layout.view(self.update, layer.weight)
        view.index_add_(0, ids, self._weighted(gradient))
        self.touched.mark(layer.weight, ids)
        self._written.add(id(layer.weight))

    def finish(self) -> None:
        """Zero the parts of the parameters that no layer passed on."""
        for parameter in self.layout.dense:
            if id(parameter) not in self._written:
                self.layout.view(self.update, parameter).zero_()

    def _add_products(self, view: torch.Tensor, gradient: torch.Tensor, inputs: torch.Tensor, again: bool) -> None:
        """Write Σ wₖ dYₖᵀXₖ, with the weights multiplied in single precision: w ∘ dY could overflow half precision."""
        assert self.weights is not None
        if not again:
            view.zero_()
        for task, (first, last) in enumerate(self.pack.ranges(len(inputs))):
            view.addcmul_(torch.mm(gradient[first:last].T, inputs[first:last]).to(view.dtype), self.weights[task])

    def _weighted(self, gradient: torch.Tensor) -> torch.Tensor:
        if self.weights is None:
            return gradient
        return gradient * self.weights[self.pack.task_of_row(len(gradient))].unsqueeze(1)

    def _add(self, parameter: torch.Tensor | None, value: Callable[[], torch.Tensor]) -> None:
        if parameter is not None and parameter in self.layout:
            view = self.layout.view(self.update, parameter)
            view.add_(value()) if self._again(parameter) else view.copy_(value())

    def _again(self, parameter: torch.Tensor) -> bool:
        """Mark a parameter as written; return whether it was before."""
        before = id(parameter) in self._written
        self._written.add(id(parameter))
        return before
