"""The collector that writes per-task gradients into a (K, P) buffer, straight from the layers."""

from __future__ import annotations

import torch
from torch import nn

from mtlbench.contract.observation import Matrix, Vector
from mtlbench.engine.packed.layout import Layout, Touched
from mtlbench.engine.packed.pack import Pack
from mtlbench.solvers.inner_products import as_gram, gram, products


class GradientRows:
    """Per-task gradients, written straight into a (K, P) buffer.

    :param buffer: its rows are the tasks; zeros to begin with.
    """

    def __init__(self, layout: Layout, buffer: torch.Tensor) -> None:
        self.layout, self.buffer, self.touched = layout, buffer, Touched()
        self.pack: Pack | None = None
        self._written: set[int] = set()

    def begin(self, pack: Pack) -> GradientRows:
        """Get ready for the backward pass of a batch's first pack; see :meth:`go_on` for its others."""
        self.pack, self._written = pack, set()
        for table in self.layout.tables:
            self.touched.clear(table, self.layout.view(self.buffer, table), 1)
        return self

    def go_on(self, pack: Pack) -> GradientRows:
        """Get ready for the backward pass of another pack, whose gradients are added."""
        self.pack = pack
        return self

    def linear(self, layer: nn.Linear, inputs: torch.Tensor, gradient: torch.Tensor) -> None:
        """Write dYₖᵀXₖ for every task k, and the sums of dYₖ."""
        assert self.pack is not None
        if layer.weight in self.layout:
            view, again = self.layout.view(self.buffer, layer.weight), id(layer.weight) in self._written
            for task, (first, last) in enumerate(self.pack.ranges(len(inputs))):
                write_product(view[task], gradient[first:last], inputs[first:last], add=again)
        self._write(layer.bias, gradient)
        self._written.add(id(layer.weight))
        if self.layout.is_table(layer.weight):  # tied to an embedding: all its rows are written
            self.touched.mark(layer.weight, None)

    def norm(
        self, layer: nn.LayerNorm, inputs: torch.Tensor, gradient: torch.Tensor, statistics: list[torch.Tensor]
    ) -> torch.Tensor:
        """Write the tasks' gradients of scale and shift; return the gradient of the inputs."""
        below, of_scale = norm_backward(layer, inputs, gradient, statistics)
        self._write(layer.weight, of_scale)
        self._write(layer.bias, gradient)
        return below

    def embedding(self, layer: nn.Embedding, ids: torch.Tensor, gradient: torch.Tensor) -> None:
        """Add the tasks' gradients to the rows of their tokens."""
        assert self.pack is not None
        view = self.layout.view(self.buffer, layer.weight)
        for task, (first, last) in enumerate(self.pack.ranges(len(ids))):
            view[task].index_add_(0, ids[first:last], gradient[first:last])
        self.touched.mark(layer.weight, ids)
        self._written.add(id(layer.weight))

    def finish(self) -> None:
        """Zero the columns of parameters that no layer handed over."""
        for parameter in self.layout.dense:
            if id(parameter) not in self._written:
                self.layout.view(self.buffer, parameter).zero_()

    def gram(self, parameters: list[nn.Parameter] | None = None) -> Matrix:
        """Return the (K, K) inner products over some dense parameters, or over all, tables by their touched rows."""
        if parameters is not None:
            return gram(self.buffer, self.layout.columns(parameters))
        total = products(self.buffer, self.layout.columns(self.layout.dense))
        for table in self.layout.tables:
            chosen = self.touched.rows(table)
            if chosen is not None:
                total += products(self.layout.picked(self.buffer, table, chosen).flatten(1))
        return as_gram(total)

    def sums(self) -> Vector:
        """Return the (K,) sums over each task's gradient: finite only if all of it is."""
        total = self.buffer.new_zeros(len(self.buffer))
        for first, last in self.layout.columns(self.layout.dense):
            total += self.buffer[:, first:last].sum(dim=1)
        for table in self.layout.tables:
            chosen = self.touched.rows(table)
            if chosen is not None:
                total += self.layout.picked(self.buffer, table, chosen).sum(dim=(1, 2))
        result: Vector = total.double().cpu().numpy()
        return result

    def combine(self, weights: Vector) -> torch.Tensor:
        """Return Σ wₖ gₖ: written over g₁, which saves the memory of an update and the time to fetch it.

        :returns: (P,) the buffer's first row, which is the next step's to write again.
        """
        update, factors = self.buffer[0], torch.from_numpy(weights).to(self.buffer)
        first, others = float(weights[0]), factors[1:]
        for begin, end in self.layout.columns(self.layout.dense):
            part = update[begin:end]
            torch.addmv(part, self.buffer[1:, begin:end].T, others, beta=first, out=part)
        for table in self.layout.tables:
            chosen = self.touched.rows(table)
            if chosen is not None:
                combined = torch.tensordot(factors, self.layout.picked(self.buffer, table, chosen), dims=1)
                self.layout.view(update, table).index_copy_(0, chosen, combined)
        return update

    def _write(self, parameter: nn.Parameter | None, rows: torch.Tensor) -> None:
        """Write or add the tasks' sums of rows as the gradients of a vector."""
        if parameter is not None and parameter in self.layout:
            assert self.pack is not None
            view, sums = self.layout.view(self.buffer, parameter), self.pack.sums(rows.to(self.buffer.dtype))
            view.add_(sums) if id(parameter) in self._written else view.copy_(sums)
            self._written.add(id(parameter))


def write_product(out: torch.Tensor, gradient: torch.Tensor, inputs: torch.Tensor, *, add: bool) -> None:
    """Write or add dYᵀX.

    Rows of half precision are multiplied in half precision, which is what their speed is for, and each product (summed
    within in single precision, rounded once) is added up in ``out``'s own: as autocast's own backward does.
    """
    if gradient.dtype != out.dtype:
        found = torch.mm(gradient.T, inputs)
        out.add_(found) if add else out.copy_(found)
    elif add:
        out.addmm_(gradient.T, inputs)
    else:
        torch.mm(gradient.T, inputs, out=out)


def norm_backward(
    layer: nn.LayerNorm, inputs: torch.Tensor, gradient: torch.Tensor, statistics: list[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the gradient of (n, width) inputs, and what each row adds to the gradient of the scale."""
    mean, deviation = statistics
    below = torch.ops.aten.native_layer_norm_backward(
        gradient, inputs, list(layer.normalized_shape), mean, deviation, layer.weight, layer.bias, [True, False, False]
    )[0]
    return below, (inputs - mean).mul_(deviation).mul_(gradient)
