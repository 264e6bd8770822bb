"""Sweeps: the same method under several values of one parameter, in the order of the values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mtlbench.records.groups import Cells, spec
from mtlbench.report.figures.context import listed


@dataclass(frozen=True)
class Sweep:
    """Methods that differ in one parameter only."""

    name: str
    parameter: str
    methods: tuple[str, ...]
    """Specs in the order of the parameter's values."""
    values: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name} by {self.parameter} ({listed(self.values)})"


def sweeps(cells: Cells, methods: Iterable[str]) -> list[Sweep]:
    """Return the sweeps among methods; variants that differ in two parameters, or in one without order, are none.

    :param cells: the cells of one group.
    :param methods: specs of the methods to consider.
    """
    entries = {spec(record): record["method"] for record in cells.records}
    families: dict[str, list[str]] = {}
    for method in methods:
        families.setdefault(entries[method]["name"], []).append(method)
    swept = []
    for name, family in families.items():
        variants = [entries[method].get("parameters") or {} for method in family]
        parameters = list(dict.fromkeys(parameter for variant in variants for parameter in variant))
        varied = [name for name in parameters if len({str(variant.get(name)) for variant in variants}) > 1]
        if len(varied) != 1:
            continue
        values = [variant.get(varied[0]) for variant in variants]
        places = _places(values)
        if places is not None and len(set(places)) == len(family):
            order = np.argsort(places)
            swept.append(Sweep(name, varied[0], tuple(family[i] for i in order), tuple(str(values[i]) for i in order)))
    return swept


def _places(values: Sequence[Any]) -> list[float] | None:
    """Return the position of every value along the sweep; ``None`` if the values have no order.

    Single numbers are ordered by size. Lists of numbers such as ``1:2:1`` are weights, compared by their shares: these
    have an order if they lie on one line, as those of two tasks always do.
    """
    numbers = [_numbers(value) for value in values]
    if any(weights is None or len(weights) != len(numbers[0] or ()) for weights in numbers):
        return None
    table = np.array(numbers, dtype=np.float64)
    if table.shape[1] > 1:
        totals = table.sum(1, keepdims=True)
        if (totals <= 0).any():
            return None
        table = np.round(table / totals, 9)
        if np.linalg.matrix_rank(table - table[0], tol=1e-6) > 1:
            return None
    places: list[float] = table[:, np.ptp(table, axis=0).argmax()].tolist()
    return places


def _numbers(value: Any) -> list[float] | None:
    """Return the numbers that a value consists of; ``None`` if it is not made of numbers."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        numbers = [float(piece) for piece in str(value).split(":")]
    except ValueError:
        return None
    return numbers if np.isfinite(numbers).all() else None
