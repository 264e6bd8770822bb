"""Collector of per-task gradients in a (K, P) buffer, filled straight from the layers."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from mtlbench.contract.observation import Matrix, Vector
from mtlbench.engine.packed.layout import Layout, Touched
from mtlbench.engine.packed.pack import Pack
from mtlbench.solvers.inner_products import Part, gram, gram_of_parts


class GradientRows:
    """Collector that writes per-task gradients straight into a (K, P) buffer.

    :param layout: the shared parameters.
    :param buffer: (K, P) zeros, one row per task.
    """

    def __init__(self, layout: Layout, buffer: torch.Tensor) -> None:
        self.layout, self.buffer, self.touched = layout, buffer, Touched()
        self.pack: Pack | None = None
        self._written: set[int] = set()

    def begin(self, pack: Pack) -> GradientRows:
        """Prepare for the backward pass of a batch's first pack (for others, see :meth:`go_on`), and return self."""
        self.pack, self._written = pack, set()
        for table in self.layout.tables:
            self.touched.clear(table, self.layout.view(self.buffer, table), 1)
        return self

    def go_on(self, pack: Pack) -> GradientRows:
        """Prepare for the backward pass of a further pack, whose gradients are added, and return self."""
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
        if self.layout.is_table(layer.weight):  # tied to an embedding: every row is written
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
        """Zero the columns of the parameters that no layer passed on."""
        for parameter in self.layout.dense:
            if id(parameter) not in self._written:
                self.layout.view(self.buffer, parameter).zero_()

    def gram(self, parameters: list[nn.Parameter] | None = None) -> Matrix:
        """Return the inner products of the tasks' gradients.

        :param parameters: dense parameters to compute them over; ``None`` for all parameters, where tables count by
            their touched rows.
        :returns: (K, K) inner products.
        """
        if parameters is not None:
            return gram(self.buffer, self.layout.columns(parameters))
        return gram_of_parts(self._parts)

    def _parts(self) -> Iterator[Part]:
        """Yield the columns of the dense parameters, and copies of the tables' touched rows."""
        yield self.buffer, self.layout.columns(self.layout.dense)
        for table in self.layout.tables:
            chosen = self.touched.rows(table)
            if chosen is not None:
                rows = self.layout.picked(self.buffer, table, chosen).flatten(1)
                yield rows, [(0, rows.shape[1])]

    def sums(self) -> Vector:
        """Return the (K,) sums of each task's gradient; a sum is finite only if the whole gradient is."""
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
        """Return Σ wₖ gₖ, written over g₁, which saves the memory of an update and the time to load it.

        :param weights: (K,) the wₖ.
        :returns: (P,) first row of the buffer; the next step overwrites it.
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
        """Write or add each task's sum of rows as its gradient of a vector parameter."""
        if parameter is not None and parameter in self.layout:
            assert self.pack is not None
            view, sums = self.layout.view(self.buffer, parameter), self.pack.sums(rows.to(self.buffer.dtype))
            view.add_(sums) if id(parameter) in self._written else view.copy_(sums)
            self._written.add(id(parameter))


def write_product(out: torch.Tensor, gradient: torch.Tensor, inputs: torch.Tensor, *, add: bool) -> None:
    """Write or add dYᵀX.

    As in autocast's own backward, half-precision rows are multiplied in half precision, for speed. Each product is
    summed internally in single precision, rounded once, and then added in the precision of ``out``.

    :param out: (out, in) memory of the result.
    :param gradient: (n, out) gradient of the outputs, dY.
    :param inputs: (n, in) inputs, X.
    :param add: add to ``out`` in place of overwriting it.
    """
    if gradient.dtype != out.dtype:
        product = torch.mm(gradient.T, inputs)
        out.add_(product) if add else out.copy_(product)
    elif add:
        out.addmm_(gradient.T, inputs)
    else:
        torch.mm(gradient.T, inputs, out=out)


def norm_backward(
    layer: nn.LayerNorm, inputs: torch.Tensor, gradient: torch.Tensor, statistics: list[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the gradient of a norm's inputs, and each row's contribution to the gradient of its scale.

    :param layer: the norm.
    :param inputs: (n, width) inputs.
    :param gradient: (n, width) gradient of the outputs.
    :param statistics: (n, 1) mean and (n, 1) reciprocal deviation of each row.
    :returns: two tensors of shape (n, width).
    """
    mean, deviation = statistics
    below = torch.ops.aten.native_layer_norm_backward(
        gradient, inputs, list(layer.normalized_shape), mean, deviation, layer.weight, layer.bias, [True, False, False]
    )[0]
    return below, (inputs - mean).mul_(deviation).mul_(gradient)
