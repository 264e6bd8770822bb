"""K task gradients of the shared parameters, one row a task, in memory that is kept across steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mtlbench.contract.observation import Matrix, Vector
from mtlbench.solvers.inner_products import gram, gram_between
from mtlbench.surgery.ranks import Ranks

Layout = tuple[tuple[torch.Size, torch.dtype, torch.device, bool], ...]
"""Shape, type and device of every parameter, and whether it is a table of which a step touches few rows."""


@dataclass(frozen=True)
class Block:
    """Parameters of one type and device, in one (K, P) buffer; tables come last.

    :param positions: positions of the parameters among all shared ones, in the buffer's order.
    :param buffer: (K, P) numbers.
    :param dense: the number of columns before the first table.
    """

    positions: Sequence[int]
    buffer: torch.Tensor
    dense: int


class Rows:
    """The rows. They hold no parameter, so that a model can go while its rows are still known.

    A *table* is the weight of an embedding whose layer reports the rows that a pass touches (:meth:`receive_rows`); all
    others are zero, and neither cleared, multiplied nor added again. A table that gets any other gradient is dense.

    :param layout: the parameters' shapes, types and devices, see :func:`layout_of`.
    :param tasks: K.
    """

    def __init__(self, layout: Layout, tasks: int) -> None:
        self.layout, self.tasks = layout, tasks
        kinds = list(dict.fromkeys((dtype, device) for _, dtype, device, _ in layout))
        self.blocks: list[Block] = []
        self.views: list[list[torch.Tensor]] = [[torch.empty(0)] * len(layout) for _ in range(tasks)]
        for kind in kinds:
            positions = sorted(
                (number for number, entry in enumerate(layout) if entry[1:3] == kind), key=lambda i: layout[i][3]
            )
            sizes = [layout[position][0].numel() for position in positions]
            buffer = torch.zeros(tasks, sum(sizes), dtype=kind[0], device=kind[1])
            dense = sum(size for position, size in zip(positions, sizes, strict=True) if not layout[position][3])
            self.blocks.append(Block(positions, buffer, dense))
            for task, row in enumerate(buffer):
                for position, view in zip(positions, self._split(row, positions), strict=True):
                    self.views[task][position] = view
        self._written: list[set[int]] = [set() for _ in range(tasks)]
        """Positions of the parameters that a task's gradient reached since :meth:`begin`."""
        self._touched: list[dict[int, list[torch.Tensor]]] = [{} for _ in range(tasks)]
        self._whole: list[set[int]] = [set() for _ in range(tasks)]
        """Tables of which every row may be nonzero, by task."""
        self._updates: dict[int, tuple[torch.Tensor, int]] = {}

    @property
    def device(self) -> torch.Tensor:
        """A tensor on the device of the first parameter."""
        return self.blocks[0].buffer

    def reached(self, tasks: int) -> set[int]:
        """Return the positions of the parameters that some task's gradient reached.

        :param tasks: the number of rows in use.
        """
        return set().union(*self._written[:tasks])

    def begin(self, task: int) -> None:
        """Begin a task's row anew: what comes first for a parameter replaces what is there.

        :param task: the row's number.
        """
        self._written[task].clear()
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
        elif position in self._written[task]:
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

    def gram(self, tasks: int) -> Matrix:
        """Return the (K, K) inner products of the rows in use, in float64.

        :param tasks: the number of rows in use.
        """
        total = np.zeros((tasks, tasks))
        for block in self.blocks:
            total = total + gram(block.buffer[:tasks], [(0, block.dense)])
            for position in block.positions:
                if self.layout[position][3]:
                    total = total + gram(self._table(position, tasks))
        return total

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
            total = self._update(number)
            _weighted(block.buffer[: len(weights), : block.dense], weights, total[: block.dense])
            for position, view in zip(block.positions, self._split(total, block.positions), strict=True):
                result[position] = view
                if self.layout[position][3]:
                    self._combine_table(view, position, weights)
        return result

    def matrix(self, tasks: int) -> torch.Tensor:
        """Return the rows in use as one (K, P) matrix, of float32 at least; no copy where there is one block of it.

        :param tasks: the number of rows in use.
        """
        parts = [block.buffer[:tasks] for block in self.blocks]
        wide = torch.promote_types(torch.float32, _widest(part.dtype for part in parts))
        first = parts[0].device
        if len(parts) == 1:
            return parts[0].to(wide)
        return torch.cat([part.to(first, wide) for part in parts], dim=1)

    def split(self, update: torch.Tensor) -> list[torch.Tensor]:
        """Return a vector of the :meth:`matrix`'s columns as one tensor for each parameter and of its type.

        :param update: (P,) numbers.
        """
        result: list[Any] = [None] * len(self.layout)
        pieces = update.split([block.buffer.shape[1] for block in self.blocks])
        for block, piece in zip(self.blocks, pieces, strict=True):
            for position, view in zip(block.positions, self._split(piece, block.positions), strict=True):
                result[position] = view.to(block.buffer.device, block.buffer.dtype)
        return result

    def culprit(self, task: int) -> int | None:
        """Return the position of the first parameter whose gradient is not finite.

        :param task: the row's number.
        """
        bad = (i for i, view in enumerate(self.views[task]) if not bool(torch.isfinite(view).all()))
        return next(bad, None)

    def _split(self, flat: torch.Tensor, positions: Sequence[int]) -> list[torch.Tensor]:
        shapes = [self.layout[position][0] for position in positions]
        pieces = flat.split([shape.numel() for shape in shapes])
        return [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]

    def _update(self, number: int) -> torch.Tensor:
        """Return memory for the update of a block: that of the last step if no ``.grad`` or other tensor uses it."""
        update, alone = self._updates.get(number, (None, 0))
        if update is None or _users(update) > alone:
            buffer = self.blocks[number].buffer
            update = torch.empty(buffer.shape[1], dtype=buffer.dtype, device=buffer.device)
            self._updates[number] = update, _users(update)
        return update

    def _combine_table(self, out: torch.Tensor, position: int, weights: Vector) -> None:
        tasks = len(weights)
        if any(position in self._whole[task] for task in range(tasks)):
            flat = torch.stack([self.views[task][position].flatten() for task in range(tasks)])
            _weighted(flat, weights, out.flatten())
            return
        out.zero_()
        rows = self._rows_of(position, tasks)
        if len(rows):
            chosen = torch.stack([self.views[task][position][rows].flatten() for task in range(tasks)])
            total = chosen.new_empty(chosen.shape[1])
            _weighted(chosen, weights, total)
            out[rows] = total.view(len(rows), *out.shape[1:])

    def _table(self, position: int, tasks: int) -> torch.Tensor:
        """Return a table's gradients as (K, columns), without rows that no task touched."""
        if any(position in self._whole[task] for task in range(tasks)):
            return torch.stack([self.views[task][position].flatten() for task in range(tasks)])
        rows = self._rows_of(position, tasks)
        return torch.stack([self.views[task][position][rows].flatten() for task in range(tasks)])

    def _rows_of(self, position: int, tasks: int) -> torch.Tensor:
        numbers = [rows for task in range(tasks) for rows in self._touched[task].get(position, [])]
        device = self.layout[position][2]
        return torch.cat(numbers).unique() if numbers else torch.empty(0, dtype=torch.int64, device=device)


def layout_of(parameters: Iterable[torch.Tensor], tables: Iterable[int] = ()) -> Layout:
    """Describe parameters for :class:`Rows`.

    :param parameters: the shared parameters.
    :param tables: ids of those that are tables with reported rows.
    """
    ids = set(tables)
    return tuple((parameter.shape, parameter.dtype, parameter.device, id(parameter) in ids) for parameter in parameters)


def _widest(types: Iterable[torch.dtype]) -> torch.dtype:
    widest = torch.float16
    for dtype in types:
        widest = torch.promote_types(widest, dtype)
    return widest


def _weighted(rows: torch.Tensor, weights: Vector, out: torch.Tensor) -> None:
    """Write Σ wᵢ rᵢ to a vector; half types are summed in single precision."""
    if rows.dtype in (torch.float32, torch.float64):
        factors = torch.from_numpy(weights).to(rows.dtype)
        if rows.is_cuda:
            factors = factors.pin_memory()  # or the copy would wait for the device
        torch.mv(rows.T, factors.to(rows.device, non_blocking=True), out=out)
        return
    total = torch.zeros(rows.shape[1], dtype=torch.float32, device=rows.device)
    for row, weight in zip(rows, weights.tolist(), strict=True):
        total.add_(row, alpha=weight)
    out.copy_(total)


def _users(tensor: torch.Tensor) -> int:
    """Return how many tensors use a tensor's memory."""
    return int(torch._C._storage_Use_Count(tensor.untyped_storage()._cdata))
