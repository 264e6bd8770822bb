"""K task gradients of the shared parameters, one row a task, in memory that is kept across steps."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch

from mtlbench.contract.observation import Matrix, Vector
from mtlbench.solvers.inner_products import BLOCK, Part, gram_between, gram_of_parts
from mtlbench.surgery.layout import Block, Layout, UpdateMemory, blocks_of, weighted_sum, widest
from mtlbench.surgery.ranks import Ranks


class Rows:
    """The rows. They hold no parameter, so that a model can go while its rows are still known.

    A *table* is the weight of an embedding whose layer reports the rows that a pass touches (:meth:`receive_rows`); all
    others are zero, and neither cleared, multiplied nor added again. A table that gets any other gradient is dense.

    :param layout: the parameters' shapes, types and devices, see :func:`layout_of`.
    :param tasks: K.
    """

    def __init__(self, layout: Layout, tasks: int) -> None:
        self.layout, self.tasks = layout, tasks
        self.blocks = blocks_of(layout, tasks)
        self.views: list[list[torch.Tensor]] = [[torch.empty(0)] * len(layout) for _ in range(tasks)]
        for block in self.blocks:
            for views, row in zip(self.views, block.buffer, strict=True):
                for position, view in block.split(row, layout).items():
                    views[position] = view
        self._written: list[set[int]] = [set() for _ in range(tasks)]
        """Positions of the parameters that a task's gradient reached since :meth:`begin`."""
        self._sparse: list[dict[int, list[torch.Tensor]]] = [{} for _ in range(tasks)]
        """Numbers of the rows in sparse gradients, by the parameter's position."""
        self._dense: list[set[int]] = [set() for _ in range(tasks)]
        """Positions of the parameters with a gradient that was not sparse."""
        self._touched: list[dict[int, list[torch.Tensor]]] = [{} for _ in range(tasks)]
        self._whole: list[set[int]] = [set() for _ in range(tasks)]
        """Tables of which every row may be nonzero, by task."""
        self._memory = UpdateMemory()

    @property
    def device(self) -> torch.Tensor:
        """A tensor on the device of the first parameter."""
        return self.blocks[0].buffer

    def fit(self, layout: Layout, tasks: int) -> bool:
        """Return whether the rows can take the gradients of some step.

        :param layout: the layout of the step's parameters.
        :param tasks: the number of its tasks.
        """
        return self.layout == layout and self.tasks >= tasks

    def reached(self, tasks: int) -> set[int]:
        """Return the positions of the parameters that some task's gradient reached.

        :param tasks: the number of rows in use.
        """
        return set().union(*self._written[:tasks])

    def begin(self, task: int) -> None:
        """Begin a task's row anew: what comes first for a parameter replaces what is there.

        :param task: the row's number.
        """
        for state in (self._written, self._sparse, self._dense):
            state[task].clear()
        for position, rows in self._touched[task].items():
            if position not in self._whole[task]:
                self.views[task][position][torch.cat(rows)] = 0.0
        for position in self._whole[task]:
            self.views[task][position].zero_()
        self._touched[task], self._whole[task] = {}, set()

    def receive(self, task: int, position: int, gradient: torch.Tensor) -> torch.Tensor:
        """Add a gradient to a task's row.

        :param task: the row's number.
        :param position: the parameter's position.
        :param gradient: of the parameter's shape, dense or sparse.
        :returns: the parameter's view of the row.
        """
        view = self.views[task][position]
        if gradient.is_sparse:
            if position not in self._written[task]:
                view.zero_()
            view.add_(gradient)
            self._written[task].add(position)
            self._sparse[task].setdefault(position, []).append(gradient._indices()[0])
            return view
        if position in self._written[task]:
            view.add_(gradient)
        else:
            view.copy_(gradient)
        self._write(task, position)
        return view

    def receive_product(self, task: int, position: int, left: torch.Tensor, right: torch.Tensor) -> None:
        """Add a product of two matrices to a task's row.

        :param task: the row's number.
        :param position: the parameter's position.
        :param left: the first factor.
        :param right: the second factor.
        """
        view = self.views[task][position]
        if position in self._written[task]:
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
        self.views[task][position].index_add_(0, numbers, gradient)
        self._written[task].add(position)
        self._dense[task].add(position)
        self._touched[task].setdefault(position, []).append(numbers)

    def finish(self, task: int) -> None:
        """End a task's row: parameters that its gradient did not reach get zeros.

        :param task: the row's number.
        """
        rest = [view for position, view in enumerate(self.views[task]) if position not in self._written[task]]
        if rest:
            torch._foreach_zero_(rest)

    def _write(self, task: int, position: int) -> None:
        self._written[task].add(position)
        self._dense[task].add(position)
        if self.layout[position][3]:
            self._whole[task].add(position)

    def average(self, ranks: Ranks, tasks: int) -> None:
        """Average the rows over the processes.

        :param ranks: the processes.
        :param tasks: the number of rows in use.
        """
        if ranks.count == 1:
            return
        ranks.mean_(block.buffer[:tasks] for block in self.blocks)
        tables = {position for position, entry in enumerate(self.layout) if entry[3]}
        for task in range(tasks):  # other processes touched other rows
            self._whole[task].update(tables)
            self._sparse[task].clear()

    def gram(self, tasks: int) -> Matrix:
        """Return the (K, K) inner products of the rows in use, in float64.

        :param tasks: the number of rows in use.
        """
        return np.sum([gram_of_parts(partial(self._parts_of, block, tasks)) for block in self.blocks], axis=0)

    def gram_with(self, other: Rows, tasks: int) -> Matrix:
        """Return the (K, K) inner products of these rows with those of another batch.

        :param other: rows of the same layout.
        :param tasks: the number of rows in use.
        """
        pairs = zip(self.blocks, other.blocks, strict=True)
        return np.sum([gram_between(a.buffer[:tasks], b.buffer[:tasks]) for a, b in pairs], axis=0)

    def combine(self, weights: Vector) -> list[torch.Tensor]:
        """Return Σ wᵢ gᵢ, one tensor for each parameter and of its type, in memory that nobody else uses.

        :param weights: one number for each row in use.
        """
        result: list[Any] = [None] * len(self.layout)
        for number, block in enumerate(self.blocks):
            total = self._memory.of(number, block)
            weighted_sum(block.buffer[: len(weights), : block.dense], weights, total[: block.dense])
            for position, view in block.split(total, self.layout).items():
                result[position] = view
                if position in block.tables:
                    self._combine_table(block.tables[position], view, position, weights)
        return result

    def in_layout(self, position: int, gradient: torch.Tensor, tasks: int) -> torch.Tensor:
        """Return a parameter's gradient as a sparse tensor where torch's own would be one.

        It has every row that a sparse gradient had, zero or not: an optimizer may move those. Processes read different
        rows, so there the nonzero ones of their mean count.

        :param position: the parameter's position.
        :param gradient: a dense gradient.
        :param tasks: the number of rows in use.
        """
        if any(position in dense for dense in self._dense[:tasks]):
            return gradient
        numbers = [rows for sparse in self._sparse[:tasks] for rows in sparse.get(position, [])]
        if not numbers:
            return gradient.to_sparse(1)
        rows = torch.cat(numbers).unique()  # type: ignore[no-untyped-call]
        values = gradient[rows]
        return torch.sparse_coo_tensor(rows[None], values, gradient.shape, is_coalesced=True, check_invariants=False)

    def matrix(self, tasks: int) -> torch.Tensor:
        """Return the rows in use as one (K, P) matrix, of float32 at least; no copy where there is one block of it.

        :param tasks: the number of rows in use.
        """
        parts = [block.buffer[:tasks] for block in self.blocks]
        wide = torch.promote_types(torch.float32, widest(part.dtype for part in parts))
        first = parts[0].device
        if len(parts) == 1:
            return parts[0].to(wide)
        return torch.cat([part.to(first, wide) for part in parts], dim=1)

    def split(self, update: torch.Tensor) -> list[torch.Tensor]:
        """Return a vector of the :meth:`matrix`'s columns as one tensor for each parameter and of its type.

        :param update: (P,) numbers.
        """
        result: list[Any] = [None] * len(self.layout)
        pieces = update.split([block.buffer.shape[1] for block in self.blocks])  # type: ignore[no-untyped-call]
        for block, piece in zip(self.blocks, pieces, strict=True):
            for position, view in block.split(piece, self.layout).items():
                result[position] = view.to(block.buffer.device, block.buffer.dtype)
        return result

    def culprit(self, task: int) -> int | None:
        """Return the position of the first parameter whose gradient is not finite.

        :param task: the row's number.
        """
        bad = (i for i, view in enumerate(self.views[task]) if not bool(torch.isfinite(view).all()))
        return next(bad, None)

    def _combine_table(self, table: torch.Tensor, out: torch.Tensor, position: int, weights: Vector) -> None:
        tasks = len(weights)
        if self._is_whole(position, tasks):
            weighted_sum(table[:tasks], weights, out.flatten())
            return
        out.zero_()
        for rows, part in self._parts(position, tasks):
            total = part.new_empty(part.shape[1])
            weighted_sum(part, weights, total)
            out[rows] = total.view(len(rows), *out.shape[1:])

    def _is_whole(self, position: int, tasks: int) -> bool:
        return any(position in self._whole[task] for task in range(tasks))

    def _parts_of(self, block: Block, tasks: int) -> Iterator[Part]:
        """Yield all of a block that may be nonzero, as matrices with one row per task."""
        yield block.buffer[:tasks], [(0, block.dense)]
        for position, table in block.tables.items():
            if self._is_whole(position, tasks):
                yield table[:tasks], [(0, table.shape[1])]
            else:
                yield from ((part, [(0, part.shape[1])]) for _, part in self._parts(position, tasks))

    def _parts(self, position: int, tasks: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield numbers of rows that some task touched in a table, and their gradients as (K, columns)."""
        width = max(1, self.layout[position][0][1:].numel())
        for rows in self._rows_of(position, tasks).split(max(1, BLOCK // width)):  # type: ignore[no-untyped-call]
            yield (
                rows,
                torch.stack([self.views[task][position].index_select(0, rows).flatten() for task in range(tasks)]),
            )

    def _rows_of(self, position: int, tasks: int) -> torch.Tensor:
        numbers = [rows for task in range(tasks) for rows in self._touched[task].get(position, [])]
        device = self.layout[position][2]
        return torch.cat(numbers).unique() if numbers else torch.empty(0, dtype=torch.int64, device=device)  # type: ignore[no-untyped-call]
