"""Shared layers whose backward pass skips rows with a gradient of exactly zero, such as padding.

Half of the rows of a padded batch of texts are dead: padding, and in the last layer all but the one that the heads
read. A row of zeros adds nothing to ``dW = dYᵀ X``, and its row of ``dX = dY W`` is zero, so leaving it out is exact.
In a pass of :class:`mtlbench.Surgery` the weights' gradients are added straight to the task's row; in every other
backward pass the layer returns them, as torch's own does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from mtlbench.errors import UsageError
from mtlbench.surgery.native import Tally, gradients_by_torch
from mtlbench.surgery.rows import Rows

FEWEST = 32
"""Rows from which a search for dead ones pays."""
WORTHWHILE = 0.9
"""Share of live rows above which copying them costs more than multiplying the dead ones."""


@dataclass(frozen=True)
class Pass:
    """One task's backward pass.

    :param rows: the rows that the gradients are added to.
    :param task: the row's number.
    :param positions: position of each shared parameter, by its id.
    """

    rows: Rows
    task: int
    positions: Mapping[int, int]


class RowSkipping:
    """Replaces the forward of a module's ``Linear`` and ``Embedding`` layers, until :meth:`close`.

    Subclasses, sparse tables, and tables with ``max_norm`` or ``scale_grad_by_freq`` keep their own forward.

    :param parameters: the shared parameters.
    :param source: the module, or modules, whose layers are replaced.
    :raises UsageError: when there is no module among ``source``.
    """

    def __init__(self, parameters: Iterable[torch.Tensor], source: Any) -> None:
        shared = {id(parameter) for parameter in parameters}
        modules = [source] if isinstance(source, nn.Module) else [m for m in _items(source) if isinstance(m, nn.Module)]
        if not modules:
            raise UsageError("skip_zero_rows replaces layers: pass shared as a module, or a list of modules")
        self.current: Pass | None = None
        """The pass that is running, if any."""
        self.tally: Tally | None = None
        """Where rows are counted while torch's own backward runs in the layers."""
        self.tables: set[int] = set()
        """Ids of the weights of replaced ``Embedding`` layers."""
        self._forwards: dict[nn.Module, _LinearForward | _EmbeddingForward] = {}
        for layer in {id(layer): layer for module in modules for layer in module.modules()}.values():
            if "forward" in vars(layer):  # replaced by somebody else
                continue
            if type(layer) is nn.Linear:  # a frozen one too: its input has a gradient
                self._forwards[layer] = _LinearForward(layer, self)
            elif type(layer) is nn.Embedding and id(layer.weight) in shared and _plain(layer):
                self._forwards[layer] = _EmbeddingForward(layer, self)
                self.tables.add(id(layer.weight))
        self.open()

    def open(self) -> None:
        """Replace the layers' forward."""
        for layer, forward in self._forwards.items():
            layer.forward = forward

    def close(self) -> None:
        """Give the layers back their own forward."""
        for layer in self._forwards:
            vars(layer).pop("forward", None)

    @contextmanager
    def into(self, rows: Rows, task: int, shared: Sequence[torch.Tensor]) -> Iterator[None]:
        """Have the layers add their weights' gradients to a task's row.

        :param rows: the rows.
        :param task: the row's number.
        :param shared: the shared parameters, in the rows' order.
        """
        self.current = Pass(rows, task, {id(parameter): number for number, parameter in enumerate(shared)})
        try:
            yield
        finally:
            self.current = None

    @contextmanager
    def natively(self) -> Iterator[Tally]:
        """Have the layers run torch's own backward, also of forwards that were before this, and count their rows."""
        self.tally = Tally()
        try:
            yield self.tally
        finally:
            self.tally = None


class _LinearForward:
    """The forward of one ``Linear`` layer."""

    def __init__(self, layer: nn.Linear, skipping: RowSkipping) -> None:
        self.layer, self.skipping = layer, skipping

    def __call__(self, input: torch.Tensor) -> torch.Tensor:
        weight, bias = self.layer.weight, self.layer.bias
        if not _applies(input) or input.dtype != weight.dtype or input.ndim < 2:
            return functional.linear(input, weight, bias)
        output: torch.Tensor = _Linear.apply(input, weight, bias, self)  # type: ignore[no-untyped-call]
        return output


class _EmbeddingForward:
    """The forward of one ``Embedding`` layer."""

    def __init__(self, layer: nn.Embedding, skipping: RowSkipping) -> None:
        self.layer, self.skipping = layer, skipping

    def __call__(self, input: torch.Tensor) -> torch.Tensor:
        if not _applies(input):
            return functional.embedding(input, self.layer.weight, self.layer.padding_idx)
        output: torch.Tensor = _Embedding.apply(input, self.layer.weight, self)  # type: ignore[no-untyped-call]
        return output


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, own: _LinearForward) -> Any:
        ctx.save_for_backward(x, weight)
        result = functional.linear(x, weight, bias)
        # a row of x that is not finite makes all of its row of the result so: 0 · ∞ is NaN; a sum may overflow as well
        ctx.own, ctx.witness = own, result[..., 0].sum() if result.shape[-1] else None
        return result

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, output: torch.Tensor) -> Any:
        x, weight = ctx.saved_tensors
        tally = ctx.own.skipping.tally
        if tally is not None:
            return *gradients_by_torch(functional.linear, (x, weight, ctx.own.layer.bias), ctx, output, tally), None
        dy, inputs = output.flatten(0, -2), x.flatten(0, -2)
        live = live_rows(dy)
        if live is not None and not bool(torch.isfinite(ctx.witness)):  # 0 · ∞ is NaN: a row of x with it is alive
            live = torch.unique(torch.cat([live, (~torch.isfinite(inputs).all(1)).nonzero().squeeze(1)]))
        dy = dy if live is None else dy.index_select(0, live)
        dx = None
        if ctx.needs_input_grad[0]:
            dx = dy @ weight
            if live is not None:
                dx = dx.new_zeros(inputs.shape).index_copy_(0, live, dx)
            dx = dx.view(x.shape)
        layer, current = ctx.own.layer, ctx.own.skipping.current
        dw = db = None
        if ctx.needs_input_grad[1]:
            inputs = inputs if live is None else inputs.index_select(0, live)
            position = _position(current, layer.weight)
            if position is None:
                dw = dy.T @ inputs
            else:
                current.rows.receive_product(current.task, position, dy.T, inputs)
        if ctx.needs_input_grad[2]:
            db = dy.sum(0)
        return dx, dw, db, None


class _Embedding(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, own: _EmbeddingForward) -> Any:
        ctx.save_for_backward(x)
        ctx.own = own
        return functional.embedding(x, weight, own.layer.padding_idx)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, output: torch.Tensor) -> Any:
        layer, current = ctx.own.layer, ctx.own.skipping.current
        tally = ctx.own.skipping.tally
        if tally is not None:
            function = partial(functional.embedding, padding_idx=layer.padding_idx)
            return *gradients_by_torch(function, (ctx.saved_tensors[0], layer.weight), ctx, output, tally), None
        numbers = ctx.saved_tensors[0].flatten()
        dy = output.reshape(len(numbers), output.shape[-1])
        live = live_rows(dy)
        if live is not None:
            dy, numbers = dy.index_select(0, live), numbers[live]
        if layer.padding_idx is not None:
            real = numbers != layer.padding_idx
            dy, numbers = dy[real], numbers[real]
        position = _position(current, layer.weight)
        if position is not None:
            current.rows.receive_rows(current.task, position, numbers, dy)
            return None, None, None
        return None, torch.zeros_like(layer.weight).index_add_(0, numbers, dy), None


def live_rows(gradient: torch.Tensor) -> torch.Tensor | None:
    """Return the numbers of the rows that hold a number other than zero (NaN is one), or ``None`` for all of them.

    :param gradient: (rows, columns) real numbers on the CPU.
    """
    if len(gradient) < FEWEST or not gradient.shape[1]:
        return None
    most = (1.0 - WORTHWHILE) * len(gradient)
    if int((gradient[:, 0] == 0.0).count_nonzero()) <= most:  # a glance at one column, before all are read
        return None
    doubtful = gradient.amax(1) == 0.0  # exact for any number, -0.0 and NaN included, and faster than a norm
    if int(doubtful.count_nonzero()) <= most:
        return None
    return (~(doubtful & (gradient.amin(1) == 0.0))).nonzero().squeeze(1)


def _position(current: Pass | None, parameter: torch.Tensor) -> int | None:
    """Return the position of a parameter in the running pass's row.

    The parameter is the layer's own: a checkpoint's saved tensors are other objects.
    """
    return None if current is None else current.positions.get(id(parameter))


def _applies(input: torch.Tensor) -> bool:
    """Whether rows can be skipped: searching them waits on a GPU, and autocast converts what the layer multiplies."""
    return input.device.type == "cpu" and torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu")


def _plain(layer: nn.Embedding) -> bool:
    return not (layer.sparse or layer.scale_grad_by_freq or layer.max_norm is not None)


def _items(source: Any) -> Iterator[Any]:
    if isinstance(source, Mapping):
        source = source.values()
    for item in source if isinstance(source, Iterable) and not isinstance(source, torch.Tensor) else []:
        yield item[1] if isinstance(item, tuple) and len(item) == 2 else item
