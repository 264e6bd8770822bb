"""Positions of the shared parameters in vectors of P numbers and in (K, P) buffers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import nn


class Layout:
    """Order of the shared parameters in a vector of P numbers.

    :param shared: the parameters, embedding tables last, so that the dense parameters are contiguous.
    :param tables: the shared parameters that are embedding tables, of which a step touches few rows.
    :param names: names of parameters, for messages, in the order of the search for the first culprit; names of other
        parameters are allowed.
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
        """The shared parameters in the order of ``names``, those without a name last."""
        order = {number: place for place, number in enumerate(self._names)}
        return sorted(self.shared, key=lambda parameter: order.get(id(parameter), len(order)))

    def name(self, parameter: torch.Tensor | None) -> str | None:
        """Return a parameter's name, or ``None``."""
        return None if parameter is None else self._names.get(id(parameter))

    def is_table(self, parameter: torch.Tensor) -> bool:
        """Return whether a shared parameter is an embedding table."""
        return id(parameter) in self._tables

    def columns(self, parameters: Sequence[torch.Tensor]) -> list[tuple[int, int]]:
        """Return the half-open ranges of some parameters, with adjacent ranges joined."""
        joined: list[tuple[int, int]] = []
        for first, last in sorted(self._range[id(parameter)] for parameter in parameters):
            if joined and joined[-1][1] == first:
                joined[-1] = (joined[-1][0], last)
            else:
                joined.append((first, last))
        return joined

    def zeros(self, *shape: int) -> torch.Tensor:
        """Return zeros of a given shape, of the parameters' type and device."""
        return torch.zeros(shape, dtype=self.shared[0].dtype, device=self.shared[0].device)

    def view(self, flat: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
        """Return the view of a parameter's part, in its shape, of a (P,) vector or of each row of a (K, P) buffer."""
        first, last = self._range[id(parameter)]
        return flat[..., first:last].view(*flat.shape[:-1], *parameter.shape)

    def picked(self, flat: torch.Tensor, table: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        """Copy rows of a table, task by task: one call for all tasks is far slower.

        :param flat: (K, P) buffer.
        :param table: the table.
        :param chosen: (n,) numbers of the rows.
        :returns: (K, n, width) rows.
        """
        views = self.view(flat, table)
        picked = flat.new_empty(len(views), len(chosen), *table.shape[1:])
        for view, rows in zip(views, picked, strict=True):
            torch.index_select(view, 0, chosen, out=rows)
        return picked


class Touched:
    """Rows of embedding tables that a step wrote to, so that the next step clears only these."""

    def __init__(self) -> None:
        self._rows: dict[int, torch.Tensor | None] = {}

    def clear(self, table: torch.Tensor, view: torch.Tensor, dimension: int) -> None:
        """Zero the rows that the last step wrote to.

        :param table: the table.
        :param view: the table's part of a vector or buffer.
        :param dimension: the dimension of ``view`` that counts rows.
        """
        if id(table) in self._rows:
            rows = self._rows.pop(id(table))
            view.zero_() if rows is None else view.index_fill_(dimension, rows, 0.0)

    def mark(self, table: torch.Tensor, rows: torch.Tensor | None) -> None:
        """Mark rows of a table as written; ``None`` marks all."""
        marked = self._rows.get(id(table), rows)
        union = None if rows is None or marked is None else rows if marked is rows else torch.cat([marked, rows])
        self._rows[id(table)] = union

    def rows(self, table: torch.Tensor) -> torch.Tensor | None:
        """Return the numbers of the written rows, each once; ``None`` if there are none. This waits for the device."""
        if id(table) not in self._rows:
            return None
        marked = self._rows[id(table)]
        if marked is None:
            return torch.arange(len(table), device=table.device)
        chosen = self._rows[id(table)] = torch.unique(marked)
        return chosen
