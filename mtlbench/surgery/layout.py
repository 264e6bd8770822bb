"""Layout of the task gradients in memory: one (K, P) buffer for each type and device of the shared parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

from mtlbench.contract.observation import Vector

Layout = tuple[tuple[torch.Size, torch.dtype, torch.device, bool], ...]
"""Shape, type and device of every parameter, and whether it is a table of which a step touches few rows."""


@dataclass(frozen=True)
class Block:
    """Parameters of one type and device, in one (K, P) buffer; tables come last.

    :param positions: positions of the parameters among all shared ones, in the buffer's order.
    :param buffer: (K, P) numbers.
    :param dense: the number of columns before the first table.
    :param tables: (K, columns) views of the buffer, by the table's position.
    """

    positions: Sequence[int]
    buffer: torch.Tensor
    dense: int
    tables: Mapping[int, torch.Tensor]

    def split(self, flat: torch.Tensor, layout: Layout) -> dict[int, torch.Tensor]:
        """Return views of a vector of the block's columns, by the parameter's position and of its shape.

        :param flat: (P,) numbers.
        :param layout: the layout of all shared parameters.
        """
        shapes = [layout[position][0] for position in self.positions]
        pieces = flat.split([shape.numel() for shape in shapes])  # type: ignore[no-untyped-call]
        views = [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]
        return dict(zip(self.positions, views, strict=True))


def layout_of(parameters: Iterable[torch.Tensor], tables: Iterable[int] = ()) -> Layout:
    """Describe parameters for :class:`Rows`.

    :param parameters: the shared parameters.
    :param tables: ids of those that are tables with reported rows.
    """
    ids = set(tables)
    return tuple((parameter.shape, parameter.dtype, parameter.device, id(parameter) in ids) for parameter in parameters)


def blocks_of(layout: Layout, tasks: int) -> list[Block]:
    """Allocate buffers of zeros.

    :param layout: the layout of all shared parameters.
    :param tasks: K.
    """
    blocks = []
    for dtype, device in dict.fromkeys((dtype, device) for _, dtype, device, _ in layout):
        members = [number for number, entry in enumerate(layout) if entry[1:3] == (dtype, device)]
        positions = sorted(members, key=lambda number: layout[number][3])
        sizes = [layout[position][0].numel() for position in positions]
        buffer = torch.zeros(tasks, sum(sizes), dtype=dtype, device=device)
        parts = dict(zip(positions, buffer.split(sizes, dim=1), strict=True))  # type: ignore[no-untyped-call]
        tables = {position: part for position, part in parts.items() if layout[position][3]}
        dense = sum(sizes) - sum(part.shape[1] for part in tables.values())
        blocks.append(Block(positions, buffer, dense, tables))
    return blocks


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
    :param out: (P,) the vector.
    """
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


class UpdateMemory:
    """Memory for the update of a block: that of the last step, if no ``.grad`` or other tensor uses it any more."""

    def __init__(self) -> None:
        self._updates: dict[int, tuple[torch.Tensor, int]] = {}

    def of(self, number: int, block: Block) -> torch.Tensor:
        """Return a vector of the block's columns, with any numbers in it.

        :param number: the block's number.
        :param block: the block.
        """
        update, alone = self._updates.get(number, (None, 0))
        if update is None or _users(update) > alone:
            update = block.buffer.new_empty(block.buffer.shape[1])
            self._updates[number] = update, _users(update)
        return update


def _users(tensor: torch.Tensor) -> int:
    """Return how many tensors use a tensor's memory."""
    return int(torch._C._storage_Use_Count(tensor.untyped_storage()._cdata))
