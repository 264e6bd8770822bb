"""What all ways to a step have in common: forwards of a batch's parts, the backward pass, and its two factors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property

import torch
from torch import nn

from mtlbench.contract.observation import Matrix
from mtlbench.engine.packed.checks import Culprits
from mtlbench.engine.packed.head_gradients import Heads
from mtlbench.engine.packed.layout import Layout, Touched
from mtlbench.engine.packed.pack import Pack
from mtlbench.engine.packed.rows import GradientRows
from mtlbench.engine.packed.tape import Collector, Tape
from mtlbench.engine.processes import ALONE, Processes
from mtlbench.engine.step import Forward
from mtlbench.errors import CellError

JointForward = Callable[..., list[Forward]]
"""Runs tasks' forwards on one of the step's batches, in one pack; leaves the pack on the tape. It is given the
batch's number; ``part`` where batches are processed in parts; ``tasks`` where not all of them are to run; and
``recompute=True`` where activations are not to be kept for the backward pass."""


class Passes:
    """Runs forwards and backwards, and holds the vectors and buffers that they fill.

    Losses are multiplied with ``loss_scale`` / ``parts`` before a backward pass. Where there are several processes,
    each runs some of the parts, and what all have collected is added up right after the last one's backward pass.
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
        """For float16; a power of two. Nothing that a step gives shows it."""
        self.update: torch.Tensor
        """(P,) the last step's; memory that the next step writes again."""
        self._buffers: dict[str, GradientRows] = {}

    def _parts(self, forward: JointForward, number: int) -> Iterator[list[Forward]]:
        """Run the forwards of this process's parts of a batch, each when the one before has had its backward pass."""
        self.heads.clear()
        for part in self.processes.own(self.parts):
            yield forward(number) if self.parts == 1 else forward(number, part=part)

    def _collected(self, name: str, batch: Iterable[list[Forward]]) -> GradientRows:
        """Return a buffer with the gradients of all parts of a batch."""
        rows = None
        for graphs in batch:
            rows = self._rows(name).begin(self._pack) if rows is None else rows.go_on(self._pack)
            self._backward(graphs, rows)
        assert rows is not None
        rows.finish()
        self._add_up(rows.buffer, rows.touched)
        return rows

    def _add_up(self, buffer: torch.Tensor, touched: Touched) -> None:
        """Add up what the processes have collected: (K, P) or (P,) numbers, and the heads' gradients.

        Of an embedding table only the rows that some process touched are exchanged, and are marked in each.
        """
        if self.processes.count == 1:
            return
        rows = buffer.view(-1, self.layout.size)
        for first, last in self.layout.columns(self.layout.dense):
            for row in rows:
                self.processes.add(row[first:last])
        for table in self.layout.tables:
            anywhere = torch.zeros(len(table), dtype=torch.int32, device=table.device)
            if (here := touched.rows(table)) is not None:
                anywhere[here] = 1
            self.processes.add(anywhere)
            chosen = anywhere.nonzero().squeeze(1)
            touched.mark(table, chosen)
            picked = self.layout.picked(rows, table, chosen)
            self.processes.add(picked)
            for view, summed in zip(self.layout.view(rows, table), picked, strict=True):
                view.index_copy_(0, chosen, summed)
        self.processes.add_all([head.grad for group in self.heads.groups for head in group if head.grad is not None])

    def _culprits(self, forward: JointForward, batches: int) -> Iterator[tuple[int, int, int, float, str | None]]:
        """Yield batch, part, task, value and parameter of this process's gradients that are not finite.

        By a second backward, the same to the last bit.
        """
        for number in range(batches):
            own = self.processes.own(self.parts)
            for part, graphs in zip(own, self._parts(forward, number), strict=True):
                culprits = Culprits(self.layout, self._pack)
                self._backward(graphs, culprits)
                if (found := culprits.first(self.heads.groups)) is not None:
                    yield number, part, found.task, found.value, found.parameter

    def _backward(self, graphs: list[Forward], collector: Collector) -> None:
        """Run one backward of Σ Lₖ; heads get their own task's plain gradient, times the loss scale until the end."""
        for parameter in self.layout.shared:
            parameter.grad = None
        self.tape.collector = collector
        self._total(graphs).backward()  # type: ignore[no-untyped-call]
        self.tape.collector = None
        if any(parameter.grad is not None for parameter in self.layout.shared):  # autograd's: all tasks' together
            raise CellError("a shared parameter is used outside its layer, where packing cannot tell tasks apart")
        self.heads.complete()

    def _total(self, graphs: list[Forward]) -> torch.Tensor:
        total = torch.stack([graph.loss for graph in graphs]).sum()
        factor = self.loss_scale / self.parts
        return total if factor == 1.0 else total * factor

    def _unscaled(self, products: Matrix) -> Matrix:
        return products if self.loss_scale == 1.0 else products / self.loss_scale**2

    def _rows(self, name: str) -> GradientRows:
        if name not in self._buffers or len(self._buffers[name].buffer) != self._pack.count:
            self._buffers[name] = GradientRows(self.layout, self.layout.zeros(self._pack.count, self.layout.size))
        return self._buffers[name]

    @cached_property
    def _vector(self) -> torch.Tensor:
        """P numbers for updates that are not written over a buffer."""
        return self.layout.zeros(self.layout.size)

    @property
    def _pack(self) -> Pack:
        assert self.tape.pack is not None  # the forward left it there
        return self.tape.pack
