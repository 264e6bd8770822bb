"""Forwards of a batch's parts, backward passes, and the two factors of the losses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property

import torch
from torch import nn

from mtlbench.contract.method import Method
from mtlbench.contract.observation import Matrix
from mtlbench.engine.packed.checks import Culprits
from mtlbench.engine.packed.head_gradients import Heads, gram_of_representation
from mtlbench.engine.packed.layout import Layout, Touched
from mtlbench.engine.packed.pack import Pack
from mtlbench.engine.packed.rows import GradientRows
from mtlbench.engine.packed.tape import Collector, Tape
from mtlbench.engine.processes import ALONE, Processes
from mtlbench.engine.step import Forward, NotFinite
from mtlbench.errors import CellError

JointForward = Callable[..., list[Forward]]
"""Runs tasks' forwards on one of the step's batches, in one pack, and leaves the pack on the tape. Arguments: the
batch's number; ``part`` where batches are split into parts; ``tasks`` to run only some; ``recompute=True`` to recompute
activations in the backward pass in place of storing them."""


class Passes:
    """Forward and backward passes of a step, and the vectors and buffers that they fill.

    Losses are multiplied by ``loss_scale`` / ``parts`` before a backward pass. Each of several processes runs some of
    the parts; their gradients are summed right after the backward pass of the last part.

    :param layout: the shared parameters.
    :param tape: the tape that the model's layers were installed with.
    :param heads: for each task, the parameters that belong to it only.
    :param parts: number of packs that every batch is split into.
    :param processes: the processes that the parts are spread over.
    """

    def __init__(
        self,
        layout: Layout,
        tape: Tape,
        heads: Sequence[Sequence[nn.Parameter]],
        parts: int,
        processes: Processes = ALONE,
    ) -> None:
        self.layout, self.tape, self.heads = layout, tape, Heads(heads)
        self.parts, self.processes = parts, processes
        self.loss_scale = 1.0
        """Factor of the losses for float16, a power of two; a step's results are divided by it."""
        self.update: torch.Tensor
        """(P,) update of the last step; the next step overwrites it."""
        self._buffers: dict[str, GradientRows] = {}

    def _parts(self, forward: JointForward, number: int) -> Iterator[list[Forward]]:
        """Run the forwards of this process's parts of a batch, each when the caller is done with the last."""
        self.heads.clear()
        for part in self.processes.own(self.parts):
            yield forward(number) if self.parts == 1 else forward(number, part=part)

    def _collected(self, name: str, batch: Iterable[list[Forward]]) -> GradientRows:
        """Return the buffer with the gradients of all parts of a batch."""
        rows = None
        for graphs in batch:
            rows = self._rows(name).begin(self._pack) if rows is None else rows.go_on(self._pack)
            self._backward(graphs, rows)
        assert rows is not None
        rows.finish()
        self._add_up(rows.buffer, rows.touched)
        return rows

    def _add_up(self, buffer: torch.Tensor, touched: Touched) -> None:
        """Sum the processes' (K, P) or (P,) numbers, and the heads' gradients.

        Of an embedding table, only the rows that some process touched are exchanged; all processes mark them.
        """
        if self.processes.count == 1:
            return
        rows = buffer.view(-1, self.layout.size)
        for first, last in self.layout.columns(self.layout.dense):
            for row in rows:
                self.processes.add(row[first:last])
        for table in self.layout.tables:
            marks = torch.zeros(len(table), dtype=torch.int32, device=table.device)
            if (own := touched.rows(table)) is not None:
                marks[own] = 1
            self.processes.add(marks)
            chosen = marks.nonzero().squeeze(1)
            touched.mark(table, chosen)
            sums = self.layout.picked(rows, table, chosen)
            self.processes.add(sums)
            for view, row_sums in zip(self.layout.view(rows, table), sums, strict=True):
                view.index_copy_(0, chosen, row_sums)
        self.processes.add_all([head.grad for group in self.heads.groups for head in group if head.grad is not None])

    def _culprits(self, forward: JointForward, batches: int) -> Iterator[tuple[int, int, int, float, str | None]]:
        """Yield batch, part, task, value and parameter of this process's gradients that are not finite.

        They are found by a second backward, with the same bits as the first.
        """
        for number in range(batches):
            own = self.processes.own(self.parts)
            for part, graphs in zip(own, self._parts(forward, number), strict=True):
                culprits = Culprits(self.layout, self._pack)
                self._backward(graphs, culprits)
                error = culprits.first(self.heads.groups)
                if error is not None and error.task is not None:
                    yield number, part, error.task, error.value, error.parameter

    def _blame(self, method: Method, forward: JointForward) -> None:
        """Find the task and parameter whose gradient is not finite, by a second backward with the same bits.

        :raises NotFinite: when there is one; it names both.
        """
        own = next(self._culprits(forward, method.batches), None)
        culprits = [culprit for culprit in self.processes.gather(own) if culprit is not None]
        if culprits:
            _, _, task, value, parameter = min(culprits)
            raise NotFinite(task, "gradient", value, parameter)

    def _backward(self, graphs: list[Forward], collector: Collector) -> None:
        """Run one backward of Σ Lₖ. Heads get their own task's plain gradient, times the loss scale.

        :raises CellError: when autograd reaches a shared parameter other than through its layer.
        """
        for parameter in self.layout.shared:
            parameter.grad = None
        self.tape.collector = collector
        self._total(graphs).backward()  # type: ignore[no-untyped-call]
        self.tape.collector = None
        if any(
            parameter.grad is not None for parameter in self.layout.shared
        ):  # from autograd: all tasks' gradients, summed
            raise CellError("a shared parameter is used outside its layer, where packing cannot tell tasks apart")
        self.heads.complete()

    def _total(self, graphs: list[Forward]) -> torch.Tensor:
        total = torch.stack([graph.loss for graph in graphs]).sum()
        factor = self.loss_scale / self.parts
        return total if factor == 1.0 else total * factor

    def _unscaled(self, products: Matrix) -> Matrix:
        return products if self.loss_scale == 1.0 else products / self.loss_scale**2

    def _of_representation(self, method: Method, graphs: list[Forward]) -> Matrix:
        return self._unscaled(gram_of_representation(method, graphs, self._total(graphs)))

    def _rows(self, name: str) -> GradientRows:
        if name not in self._buffers or len(self._buffers[name].buffer) != self._pack.count:
            self._buffers[name] = GradientRows(self.layout, self.layout.zeros(self._pack.count, self.layout.size))
        return self._buffers[name]

    @cached_property
    def _vector(self) -> torch.Tensor:
        """(P,) memory for updates that do not overwrite a buffer's row."""
        return self.layout.zeros(self.layout.size)

    @property
    def _pack(self) -> Pack:
        assert self.tape.pack is not None  # the forward puts it there
        return self.tape.pack
