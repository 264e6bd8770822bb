"""Which methods are one method under several values of one parameter, and the order of these values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mtlbench.records.groups import Cells, spec
from mtlbench.report.figures.context import listed


@dataclass(frozen=True)
class Sweep:
    """Methods that differ in one parameter."""

    name: str
    parameter: str
    methods: tuple[str, ...]
    """In the order of the parameter's values."""
    values: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name} by {self.parameter} ({listed(self.values)})"


def sweeps(cells: Cells, methods: Iterable[str]) -> list[Sweep]:
    """Return the sweeps among some methods. Where two parameters vary, or one that has no order, there is none."""
    described = {spec(record): record["method"] for record in cells.records}
    families: dict[str, list[str]] = {}
    for method in methods:
        families.setdefault(described[method]["name"], []).append(method)
    found = []
    for name, family in families.items():
        parameters = [described[method].get("parameters") or {} for method in family]
        names = list(dict.fromkeys(one for given in parameters for one in given))
        varied = [one for one in names if len({str(given.get(one)) for given in parameters}) > 1]
        if len(varied) != 1:
            continue
        values = [given.get(varied[0]) for given in parameters]
        places = _places(values)
        if places is not None and len(set(places)) == len(family):
            order = np.argsort(places)
            found.append(Sweep(name, varied[0], tuple(family[i] for i in order), tuple(str(values[i]) for i in order)))
    return found


def _places(values: Sequence[Any]) -> list[float] | None:
    """Return where every value lies along the sweep; ``None`` if they have no order.

    Numbers lie in their order. Lists of numbers such as ``1:2:1`` are weights, of which their shares count: these have
    an order if they lie on one line, as those of two tasks always do.
    """
    numbers = [_numbers(value) for value in values]
    if any(one is None or len(one) != len(numbers[0] or ()) for one in numbers):
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
    """Return the numbers that a value is made of, one or several; ``None`` if it is something else."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        found = [float(piece) for piece in str(value).split(":")]
    except ValueError:
        return None
    return found if np.isfinite(found).all() else None
