"""Memory for K rows of P numbers, one of which an update overwrites, and the question who still uses it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from mtlbench.surgery.layout import Block, Layout, blocks_of, widest


class Slots:
    """A slot for each row of a step. The update takes the first or the last slot, and becomes ``.grad``.

    Where ``.grad`` still holds it at the next step, as with ``zero_grad()`` right before ``backward()``, one slot more
    is needed from then on: the rows of a step lie beside the slot of the last update.

    :param layout: the parameters' shapes, types and devices.
    :param capacity: the largest number of tasks.
    """

    def __init__(self, layout: Layout, capacity: int) -> None:
        self.layout, self.capacity = layout, capacity
        self.count, self.tasks, self.first = capacity, capacity, 0
        self._allocate()

    @property
    def views(self) -> list[list[torch.Tensor]]:
        """The current step's rows, as views of the parameters' shapes."""
        return self.by_slot[self.window]

    @property
    def device(self) -> torch.Tensor:
        """A tensor on the device of the first parameter."""
        return self.blocks[0].buffer

    @property
    def window(self) -> slice:
        """The slots of the current step's rows."""
        return slice(self.first, self.first + self.tasks)

    @property
    def of_update(self) -> int:
        """The slot for the update; those beside it are enough for the next step."""
        return 0 if self.first == 0 else self.count - 1

    def fit(self, layout: Layout, tasks: int) -> bool:
        """Return whether the slots can take the gradients of some step.

        :param layout: the layout of the step's parameters.
        :param tasks: the number of its tasks.
        """
        return self.layout == layout and self.capacity >= tasks

    def open(self, tasks: int, leaves: Sequence[torch.Tensor]) -> None:
        """Choose the slots of a step, which nobody else uses.

        :param tasks: the number of its tasks.
        :param leaves: the parameters, whose ``.grad`` may hold an earlier update.
        """
        self.tasks, self.first = tasks, 0
        busy = self._busy(leaves)
        if busy is None:
            self._allocate()  # what others use stays theirs
        elif busy.intersection(range(tasks)):
            self.first = self.count - tasks
            if busy.intersection(range(self.first, self.count)):
                self._grow(leaves)

    def _grow(self, leaves: Sequence[torch.Tensor]) -> None:
        """Add a slot, and begin in the first; ``.grad`` gets memory of its own, so that the old slots can go first."""
        for leaf in leaves:
            if leaf.grad is not None:
                leaf.grad.data = leaf.grad.clone()  # the tensor stays the user's own
        self.count, self.first = self.capacity + 1, 0
        self._allocate()

    def _allocate(self) -> None:
        self.blocks: list[Block] = []
        self.by_slot: list[list[torch.Tensor]] = []  # both before new ones take memory
        self.blocks = blocks_of(self.layout, self.count)
        self.by_slot = [self._views(slot) for slot in range(self.count)]
        self._users = [_users(block.buffer) for block in self.blocks]

    def _views(self, slot: int) -> list[torch.Tensor]:
        views = {position: view for block in self.blocks for position, view in self.of_block(block, slot).items()}
        return [views[position] for position in range(len(self.layout))]

    def of_block(self, block: Block, slot: int) -> dict[int, torch.Tensor]:
        """Return views of a slot, of the parameters' shapes, by position.

        :param block: the block.
        :param slot: the slot.
        """
        views = block.split(block.buffer[slot], self.layout)
        # detached, so that a view uses the buffer's memory and not the buffer itself
        return {position: view.detach() for position, view in views.items()}

    def matrix(self) -> torch.Tensor:
        """Return the rows as one (K, P) matrix, of float32 at least; no copy where there is one block of it."""
        parts = [block.buffer[self.window] for block in self.blocks]
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

    def _busy(self, leaves: Sequence[torch.Tensor]) -> set[int] | None:
        """Return the slots that the leaves' ``.grad`` use; ``None`` where something else uses a block too."""
        slots: set[int] = set()
        for block, alone in zip(self.blocks, self._users, strict=True):
            users = _users(block.buffer) - alone
            if users == 0:
                continue
            storage = block.buffer.untyped_storage()._cdata
            gradients = [leaf.grad for leaf in leaves if leaf.grad is not None and not leaf.grad.is_sparse]
            own = [gradient for gradient in gradients if gradient.untyped_storage()._cdata == storage]
            if len(own) != users:
                return None
            slots.update(gradient.storage_offset() // block.buffer.stride(0) for gradient in own)
        return slots


def _users(tensor: torch.Tensor) -> int:
    """Return how many tensors use a tensor's memory."""
    return int(torch._C._storage_Use_Count(tensor.untyped_storage()._cdata))
