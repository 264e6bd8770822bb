"""Layout of the task gradients in memory: one (K, P) buffer for each type and device of the shared parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

from mtlbench.contract.observation import Vector

Layout = tuple[tuple[torch.Size, torch.dtype, torch.device, bool], ...]
"""Shape, type and device of every parameter, and whether it is a table of which a step touches few rows."""


ALIGNED = 64
"""Bytes to which every row is aligned: sums of a library may depend on it in their last bits."""
CHUNK = {"cpu": 2**19}
"""Columns to sum at a time, by the kind of device: their total stays in the cache."""


@dataclass(frozen=True)
class Block:
    """Parameters of one type and device, in one buffer of a row for each slot; tables come last.

    :param positions: positions of the parameters among all shared ones, in the buffer's order.
    :param buffer: (slots, P) numbers.
    :param dense: the number of columns before the first table.
    :param tables: the first column and the number of columns of each table, by its position.
    """

    positions: Sequence[int]
    buffer: torch.Tensor
    dense: int
    tables: Mapping[int, tuple[int, int]]

    @classmethod
    def allocate(cls, positions: Sequence[int], slots: int, layout: Layout) -> Block:
        """Return a block with any numbers in it, and zeros in its tables.

        :param positions: positions of its parameters.
        :param slots: the number of rows.
        :param layout: the layout of all shared parameters.
        """
        ordered = sorted(positions, key=lambda position: layout[position][3])
        sizes = [layout[position][0].numel() for position in ordered]
        starts = [sum(sizes[:number]) for number in range(len(sizes))]
        entries = zip(ordered, starts, sizes, strict=True)
        tables = {position: (start, size) for position, start, size in entries if layout[position][3]}
        _, dtype, device, _ = layout[ordered[0]]
        columns, unit = sum(sizes), ALIGNED // dtype.itemsize
        buffer = torch.empty(slots, -(-columns // unit) * unit, dtype=dtype, device=device)[:, :columns]
        dense = columns - sum(size for _, size in tables.values())
        buffer[:, dense:] = 0.0
        return cls(ordered, buffer, dense, tables)

    def table(self, position: int, slots: slice) -> torch.Tensor:
        """Return (slots, columns) numbers of a table.

        :param position: its position.
        :param slots: the slots.
        """
        start, size = self.tables[position]
        return self.buffer[slots, start : start + size]

    def split(self, flat: torch.Tensor, layout: Layout) -> dict[int, torch.Tensor]:
        """Return views of a vector of the block's columns, by the parameter's position and of its shape.

        :param flat: (P,) numbers.
        :param layout: the layout of all shared parameters.
        """
        shapes = [layout[position][0] for position in self.positions]
        pieces = torch.split(flat, [shape.numel() for shape in shapes])
        views = [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]
        return dict(zip(self.positions, views, strict=True))


def layout_of(parameters: Iterable[torch.Tensor], tables: Iterable[int] = ()) -> Layout:
    """Describe parameters for :class:`Rows`.

    :param parameters: the shared parameters.
    :param tables: ids of those that are tables with reported rows.
    """
    ids = set(tables)
    return tuple((parameter.shape, parameter.dtype, parameter.device, id(parameter) in ids) for parameter in parameters)


def blocks_of(layout: Layout, slots: int) -> list[Block]:
    """Allocate a block for each type and device.

    :param layout: the layout of all shared parameters.
    :param slots: the number of rows.
    """
    kinds = dict.fromkeys((dtype, device) for _, dtype, device, _ in layout)
    members = [[number for number, entry in enumerate(layout) if entry[1:3] == kind] for kind in kinds]
    return [Block.allocate(positions, slots, layout) for positions in members]


def widest(types: Iterable[torch.dtype]) -> torch.dtype:
    """Return the type that holds the numbers of all of some types.

    :param types: floating types.
    """
    result = torch.float16
    for dtype in types:
        result = torch.promote_types(result, dtype)
    return result


def weighted_sum(rows: torch.Tensor, weights: Vector, out: torch.Tensor) -> None:
    """Write Σ wᵢ rᵢ to a vector; half types are summed in single precision.

    :param rows: (K, P) the rᵢ.
    :param weights: (K,) the wᵢ.
    :param out: (P,) the vector; it may be one of the rows.
    """
    columns, chunk = rows.shape[1], CHUNK.get(rows.device.type, 2**22)
    precise = torch.promote_types(rows.dtype, torch.float32)
    # the first row can become the sum where it lies; the sum of another row's memory would overwrite that row too early
    in_place = out.data_ptr() == rows.data_ptr() and rows.dtype == precise
    memory = None if in_place else torch.empty(min(chunk, columns), dtype=precise, device=rows.device)
    first, *rest = weights.tolist()
    for start in range(0, columns, chunk):
        part = slice(start, min(start + chunk, columns))
        total = out[part] if memory is None else memory[: part.stop - start]
        torch.mul(rows[0, part].to(precise), first, out=total)
        for row, weight in zip(rows[1:], rest, strict=True):
            total.add_(row[part], alpha=weight)
        if memory is not None:
            out[part] = total
