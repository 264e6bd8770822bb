"""Where each shared parameter lies in vectors of P numbers, and in (K, P) buffers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import nn


class Layout:
    """The shared parameters one after another.

    :param shared: the parameters, embedding tables last, so that what is dense lies together.
    :param tables: those of them that are embedding tables, of which a step touches few rows.
    :param names: parameters with their names, for messages, in the order in which the first culprit is looked for; it
        may hold others too.
    """

    def __init__(
        self,
        shared: Sequence[nn.Parameter],
        tables: Sequence[nn.Parameter],
        names: Iterable[tuple[str, torch.Tensor]] = (),
    ) -> None:
        self.shared = list(shared)
        self._names = {id(parameter): name for name, parameter in names}
        self._range: dict[int, tuple[int, int]] = {}
        start = 0
        for parameter in self.shared:
            self._range[id(parameter)] = (start, start + parameter.numel())
            start += parameter.numel()
        self.size = start
        self._tables = {id(table) for table in tables}
        self.tables = [parameter for parameter in self.shared if id(parameter) in self._tables]
        self.dense = [parameter for parameter in self.shared if id(parameter) not in self._tables]

    def __contains__(self, parameter: torch.Tensor | None) -> bool:
        return parameter is not None and id(parameter) in self._range

    @property
    def named(self) -> list[nn.Parameter]:
        """The shared parameters in the order of their names; without names, in their own."""
        order = {number: place for place, number in enumerate(self._names)}
        return sorted(self.shared, key=lambda parameter: order.get(id(parameter), len(order)))

    def name(self, parameter: torch.Tensor | None) -> str | None:
        """Return a parameter's name, where it is known."""
        return None if parameter is None else self._names.get(id(parameter))

    def is_table(self, parameter: torch.Tensor) -> bool:
        """Whether a parameter is an embedding table."""
        return id(parameter) in self._tables

    def columns(self, parameters: Sequence[torch.Tensor]) -> list[tuple[int, int]]:
        """Return the half-open ranges of some parameters, neighbours joined."""
        joined: list[tuple[int, int]] = []
        for first, last in sorted(self._range[id(parameter)] for parameter in parameters):
            if joined and joined[-1][1] == first:
                joined[-1] = (joined[-1][0], last)
            else:
                joined.append((first, last))
        return joined

    def zeros(self, *shape: int) -> torch.Tensor:
        """Return zeros of the parameters' type, where they are."""
        return torch.zeros(shape, dtype=self.shared[0].dtype, device=self.shared[0].device)

    def view(self, flat: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
        """Return a parameter's part of a (P,) vector in its own shape, or of (K, P) in (K, *shape)."""
        first, last = self._range[id(parameter)]
        return flat[..., first:last].view(*flat.shape[:-1], *parameter.shape)

    def picked(self, flat: torch.Tensor, table: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        """Return (K, n, width) rows of a table's part of (K, P), picked one by one: one call for all is far slower."""
        views = self.view(flat, table)
        found = flat.new_empty(len(views), len(chosen), *table.shape[1:])
        for rows, picked in zip(views, found, strict=True):
            torch.index_select(rows, 0, chosen, out=picked)
        return found


class Touched:
    """Rows of embedding tables that a step wrote to, so that the next can clear these and no others."""

    def __init__(self) -> None:
        self._rows: dict[int, torch.Tensor | None] = {}

    def clear(self, table: torch.Tensor, view: torch.Tensor, dimension: int) -> None:
        """Zero what the last step wrote in a table's view; ``dimension`` is that of its rows."""
        if id(table) in self._rows:
            rows = self._rows.pop(id(table))
            view.zero_() if rows is None else view.index_fill_(dimension, rows, 0.0)

    def mark(self, table: torch.Tensor, rows: torch.Tensor | None) -> None:
        """Remember rows that were written; ``None`` for all."""
        before = self._rows.get(id(table), rows)
        both = None if rows is None or before is None else rows if before is rows else torch.cat([before, rows])
        self._rows[id(table)] = both

    def rows(self, table: torch.Tensor) -> torch.Tensor | None:
        """Return the rows written, each once; ``None`` if there are none. Waits for the device, to know how many."""
        if id(table) not in self._rows:
            return None
        found = self._rows[id(table)]
        if found is None:
            return torch.arange(len(table), device=table.device)
        chosen = self._rows[id(table)] = torch.unique(found)
        return chosen
