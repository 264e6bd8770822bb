"""K task gradients of the shared parameters, one row a task, in memory that is kept across steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch

from mtlbench.contract.observation import Matrix, Vector
from mtlbench.solvers.inner_products import BLOCK, Part, gram_between, gram_of_parts
from mtlbench.surgery.delivery import norm_of
from mtlbench.surgery.layout import Block, Layout, weighted_sum
from mtlbench.surgery.ranks import Ranks
from mtlbench.surgery.reach import Reach, in_layout, reached_by_some
from mtlbench.surgery.slots import Slots


class Rows(Slots):
    """The rows. They hold no parameter, so that a model can go while its rows are still known.

    A *table* is the weight of an embedding whose layer reports the rows that a pass touches (:meth:`receive_rows`); all
    others are zero, and neither cleared, multiplied nor added again. A table that gets any other gradient is dense.

    :param layout: the parameters' shapes, types and devices, see :func:`layout_of`.
    :param capacity: the largest number of tasks.
    """

    def __init__(self, layout: Layout, capacity: int) -> None:
        super().__init__(layout, capacity)
        self._reaches = [Reach() for _ in range(capacity)]

    def _allocate(self) -> None:
        super()._allocate()
        self._touched: list[dict[int, list[torch.Tensor]]] = [{} for _ in range(self.count)]
        """Numbers of the rows of each table that may be nonzero, by slot."""
        self._whole: list[set[int]] = [set() for _ in range(self.count)]
        """Tables of which every row may be nonzero, by slot."""

    @property
    def reached(self) -> set[int]:
        """The positions of the parameters that some task's gradient reached."""
        return reached_by_some(self._reaches[: self.tasks])

    def begin(self, task: int) -> None:
        """Begin a task's row anew: what comes first for a parameter replaces what is there.

        :param task: the row's number.
        """
        self._reaches[task] = Reach()
        slot = self.first + task
        for position, rows in self._touched[slot].items():
            if position not in self._whole[slot]:
                self.by_slot[slot][position][torch.cat(rows)] = 0.0
        for position in self._whole[slot]:
            self.by_slot[slot][position].zero_()
        self._touched[slot], self._whole[slot] = {}, set()

    def receive(self, task: int, position: int, gradient: torch.Tensor) -> torch.Tensor:
        """Add a gradient to a task's row.

        :param task: the row's number.
        :param position: the parameter's position.
        :param gradient: of the parameter's shape, dense or sparse.
        :returns: the parameter's view of the row.
        """
        view, reach = self.by_slot[self.first + task][position], self._reaches[task]
        if gradient.is_sparse:
            if position not in reach.written:
                view.zero_()
            view.add_(gradient)
            reach.written.add(position)
            reach.sparse.setdefault(position, []).append(gradient._indices()[0])
            return view
        if position in reach.written:
            view.add_(gradient)
        else:
            view.copy_(gradient)
        self._write(task, position)
        return view

    def receive_all(self, task: int, gradients: Mapping[int, torch.Tensor]) -> None:
        """Add several gradients to a task's row, as :meth:`receive` does one by one.

        :param task: the row's number.
        :param gradients: position of a parameter → its gradient.
        """
        views, written = self.by_slot[self.first + task], self._reaches[task].written
        first = {i: gradient for i, gradient in gradients.items() if not gradient.is_sparse and i not in written}
        if first:
            torch._foreach_copy_([views[position] for position in first], list(first.values()))
        for position, gradient in gradients.items():
            if position in first:
                self._write(task, position)
            else:
                self.receive(task, position, gradient)

    def receive_product(self, task: int, position: int, left: torch.Tensor, right: torch.Tensor) -> None:
        """Add a product of two matrices to a task's row.

        :param task: the row's number.
        :param position: the parameter's position.
        :param left: the first factor.
        :param right: the second factor.
        """
        view = self.by_slot[self.first + task][position]
        if position in self._reaches[task].written:
            view.addmm_(left, right)
        else:
            torch.mm(left, right, out=view)
        self._write(task, position)

    def receive_rows(self, task: int, position: int, numbers: torch.Tensor, gradient: torch.Tensor) -> None:
        """Add to some rows of a table.

        :param task: the row's number.
        :param position: the table's position.
        :param numbers: numbers of rows of the table; they may repeat.
        :param gradient: what to add to each.
        """
        slot = self.first + task
        self.by_slot[slot][position].index_add_(0, numbers, gradient)
        self._reaches[task].written.add(position)
        self._reaches[task].dense.add(position)
        self._touched[slot].setdefault(position, []).append(numbers)

    def finish(self, task: int) -> None:
        """End a task's row: parameters that its gradient did not reach get zeros.

        :param task: the row's number.
        """
        views, written = self.by_slot[self.first + task], self._reaches[task].written
        rest = [view for position, view in enumerate(views) if position not in written]
        if rest:
            torch._foreach_zero_(rest)

    def _write(self, task: int, position: int) -> None:
        self._reaches[task].written.add(position)
        self._reaches[task].dense.add(position)
        if self.layout[position][3]:
            self._whole[self.first + task].add(position)

    def average(self, ranks: Ranks) -> None:
        """Average the rows over the processes.

        :param ranks: the processes.
        """
        if ranks.count == 1:
            return
        ranks.mean_(row for block in self.blocks for row in block.buffer[self.window])  # each is contiguous, not all
        tables = {position for position, entry in enumerate(self.layout) if entry[3]}
        for whole, reach in zip(self._whole[self.window], self._reaches, strict=False):
            whole.update(tables)  # other processes touched other rows
            reach.sparse.clear()

    def gram(self) -> Matrix:
        """Return the (K, K) inner products of the rows, in float64."""
        return np.sum([gram_of_parts(partial(self._parts_of, block)) for block in self.blocks], axis=0)

    def gram_with(self, other: Rows) -> Matrix:
        """Return the (K, K) inner products of these rows with those of another batch.

        :param other: rows of the same layout.
        """
        pairs = zip(self.blocks, other.blocks, strict=True)
        return np.sum([gram_between(a.buffer[self.window], b.buffer[other.window]) for a, b in pairs], axis=0)

    def sum_norm(self) -> float:
        """Return ‖Σ gᵢ‖, in double precision."""
        sums = [block.buffer[self.window].sum(dim=0, dtype=torch.float64) for block in self.blocks]
        return norm_of(sums)

    def combine(self, weights: Vector) -> list[torch.Tensor]:
        """Overwrite a row with Σ wᵢ gᵢ, and return it: one tensor for each parameter and of its type.

        :param weights: (K,) the wᵢ.
        """
        slot = self.of_update
        result: list[Any] = [None] * len(self.layout)
        for block in self.blocks:
            weighted_sum(block.buffer[self.window, : block.dense], weights, block.buffer[slot, : block.dense])
            for position in block.tables:
                self._combine_table(block, position, slot, weights)
            for position, view in self.of_block(block, slot).items():
                result[position] = view
        return result

    def in_layout(self, position: int, gradient: torch.Tensor) -> torch.Tensor:
        """Return a parameter's update as a sparse tensor where torch's own gradient would be one.

        :param position: the parameter's position.
        :param gradient: a dense tensor.
        """
        return in_layout(position, gradient, self._reaches[: self.tasks])

    def culprit(self, task: int) -> int | None:
        """Return the position of the first parameter whose gradient is not finite.

        :param task: the row's number.
        """
        bad = (i for i, view in enumerate(self.by_slot[self.first + task]) if not bool(torch.isfinite(view).all()))
        return next(bad, None)

    def _combine_table(self, block: Block, position: int, slot: int, weights: Vector) -> None:
        window = self.window
        if self._is_whole(position):
            weighted_sum(block.table(position, window), weights, block.table(position, slice(slot, slot + 1))[0])
            self._whole[slot].add(position)
            return
        view = self.by_slot[slot][position]  # its rows are zero where no task touched them
        for rows, part in self._parts(position):
            total = part.new_empty(part.shape[1])
            weighted_sum(part, weights, total)
            view[rows] = total.view(len(rows), *view.shape[1:])
        self._touched[slot][position] = [self._rows_of(position)]

    def _is_whole(self, position: int) -> bool:
        return any(position in whole for whole in self._whole[self.window])

    def _parts_of(self, block: Block) -> Iterator[Part]:
        """Yield all of a block that may be nonzero, as matrices with one row per task."""
        yield block.buffer[self.window], [(0, block.dense)]
        for position, (_, size) in block.tables.items():
            if self._is_whole(position):
                yield block.table(position, self.window), [(0, size)]
            else:
                yield from ((part, [(0, part.shape[1])]) for _, part in self._parts(position))

    def _parts(self, position: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield numbers of rows that some task touched in a table, and their gradients as (K, columns)."""
        width = max(1, self.layout[position][0][1:].numel())
        for rows in self._rows_of(position).split(max(1, BLOCK // width)):  # type: ignore[no-untyped-call]
            yield rows, torch.stack([views[position].index_select(0, rows).flatten() for views in self.views])

    def _rows_of(self, position: int) -> torch.Tensor:
        numbers = [rows for touched in self._touched[self.window] for rows in touched.get(position, [])]
        device = self.layout[position][2]
        return torch.cat(numbers).unique() if numbers else torch.empty(0, dtype=torch.int64, device=device)  # type: ignore[no-untyped-call]
