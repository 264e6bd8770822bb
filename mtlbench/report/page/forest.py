"""The forest plot of the page: places in percent of a panel's width, so that it fits any screen without a redraw."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mtlbench.records.groups import Cells
from mtlbench.report.blocks import Row, Section, Table
from mtlbench.report.compare import Series, delta_m
from mtlbench.report.names import labels
from mtlbench.report.numbers import ABSENT, interval, p_value, signed
from mtlbench.report.result import Difference, GroupReport

PADDING = 0.04
"""Free space at both ends of a panel, as a share of its width."""
REACH = 3.0
"""How far outside of the middle half of all interval ends the axis goes, in units of its length; what lies further
out is drawn as an arrow at the edge, so that one collapsed method does not flatten all others."""
FEWEST_TO_CUT = 8
"""Fewest methods for which the axis is cut."""
WIDER = 2.5
"""How many times as wide the whole axis must be for it to be cut."""
WIDEST_NAME = 22
"""Most letters of a method's name on one line."""
TOP, BOTTOM = 0.24, 0.76
"""Vertical range of the seeds' dots within a row, so that equal values do not hide each other."""


@dataclass(frozen=True)
class Dot:
    """One seed: its place in percent, and its difference in words."""

    seed: int
    x: float
    y: float
    text: str


@dataclass(frozen=True)
class ForestRow:
    """One method on one endpoint; places in percent."""

    method: str
    label: str
    mean: float
    low: float | None
    high: float | None
    beyond: str
    """``"left"`` or ``"right"`` where the mean lies outside of the axis."""
    dots: tuple[Dot, ...]
    by_seed: Mapping[int, str]
    """The difference in every seed, also where it lies outside of the axis."""
    estimate: str
    interval: str
    p: str
    verdict: str


@dataclass(frozen=True)
class ForestPanel:
    """The differences on one endpoint."""

    label: str
    zero: float
    ticks: tuple[tuple[float, str], ...]
    rows: tuple[ForestRow, ...]

    @property
    def few(self) -> tuple[str, ...]:
        """The ticks for a narrow panel: zero, and the one farthest from it."""
        farthest = max(self.ticks, key=lambda tick: abs(tick[0] - self.zero), default=(0.0, ""))
        return (*(text for x, text in self.ticks if x == self.zero), farthest[1])


@dataclass(frozen=True)
class Forest:
    """All panels of a group."""

    baseline: str
    seeds: tuple[int, ...]
    methods: Mapping[str, str]
    """Short label → spec, in the order of the rows."""
    panels: tuple[ForestPanel, ...]

    @property
    def name_width(self) -> int:
        """Width of the column of names, in letters; longer names wrap."""
        return min(WIDEST_NAME, max(map(len, (*self.methods, "method")))) + 1

    @property
    def cut(self) -> bool:
        """Whether any mean lies outside of its axis."""
        return any(row.beyond for panel in self.panels for row in panel.rows)

    def by_seed(self) -> Table:
        """Return every dot as a number."""
        sections = [
            Section(
                panel.label,
                tuple(
                    Row((row.label, *(row.by_seed.get(seed, ABSENT) for seed in self.seeds)))
                    for row in panel.rows
                    if row.by_seed
                ),
            )
            for panel in self.panels
        ]
        columns = ("method", *(f"seed {seed}" for seed in self.seeds))
        return Table("Differences seed by seed", columns, tuple(s for s in sections if s.rows), detail=True)


def forest(group: GroupReport, cells: Cells | None) -> Forest | None:
    """Return the differences in Δm, where it is defined, and in the primary metric of every task.

    :param group: the report of one group.
    :param cells: its cells; without them there are no single seeds.
    :returns: ``None`` where no method could be compared.
    """
    primary = [d for d in group.comparisons if d.family == "primary"]
    if not primary or group.baseline is None:
        return None
    order = {method: place for place, method in enumerate(group.methods)}
    label = labels(group.methods)
    endpoints = [("Δm %", 2, list(group.delta_m_comparisons))]
    endpoints += [(f"{t.name} {t.primary}", 3, [d for d in primary if d.task == t.name]) for t in group.tasks]
    deltas = delta_m(cells)[0] if cells else {}
    panels = tuple(
        _panel(
            endpoint,
            sorted(differences, key=lambda d: order[d.method]),
            label,
            _by_seed(differences, cells, deltas),
            digits,
        )
        for endpoint, digits, differences in endpoints
        if differences
    )
    compared = sorted({row.method for panel in panels for row in panel.rows}, key=lambda m: order[m])
    seeds = tuple(sorted({seed for panel in panels for row in panel.rows for seed in row.by_seed}))
    return Forest(label[group.baseline], seeds, {label[method]: method for method in compared}, panels)


def _panel(
    endpoint: str,
    differences: Sequence[Difference],
    label: Mapping[str, str],
    seeds: Mapping[str, Mapping[int, float]],
    digits: int,
) -> ForestPanel:
    low, high = _axis(differences, seeds)

    def place(value: float) -> float:
        return round(100 * min(max((value - low) / (high - low), 0.0), 1.0), 2)

    rows = tuple(
        ForestRow(
            method=d.method,
            label=label[d.method],
            mean=place(d.mean_difference),
            low=None if d.ci_low is None else place(d.ci_low),
            high=None if d.ci_high is None else place(d.ci_high),
            beyond="left" if d.mean_difference < low else "right" if d.mean_difference > high else "",
            dots=_dots(seeds[d.method], low, high, digits),
            by_seed={seed: signed(value, digits + 1) for seed, value in seeds[d.method].items()},
            estimate=signed(d.mean_difference, digits),
            interval=interval(d.ci_low, d.ci_high, digits),
            p=p_value(d.p_adjusted),
            verdict=d.verdict,
        )
        for d in differences
    )
    return ForestPanel(endpoint, place(0.0), tuple((place(tick), text) for tick, text in ticks(low, high)), rows)


def _by_seed(
    differences: Sequence[Difference], cells: Cells | None, deltas: Mapping[str, Series]
) -> dict[str, dict[int, float]]:
    """Return each method's differences by seed; empty for unpaired runs."""
    return {d.method: _seeds(d, cells, deltas) if cells and d.paired else {} for d in differences}


def _seeds(d: Difference, cells: Cells, deltas: Mapping[str, Series]) -> dict[int, float]:
    ours, theirs = (
        deltas[method] if d.family == "delta_m" else cells.series(method, d.task, d.metric)
        for method in (d.method, d.baseline)
    )
    return {seed: ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())}


def _dots(values: Mapping[int, float], low: float, high: float, digits: int) -> tuple[Dot, ...]:
    """Return the dots of the seeds that lie on the axis."""
    step = (BOTTOM - TOP) / max(1, len(values) - 1)
    first = TOP if len(values) > 1 else 0.5
    return tuple(
        Dot(
            seed,
            round(100 * (value - low) / (high - low), 2),
            round(100 * (first + step * index), 1),
            f"seed {seed}: {signed(value, digits + 1)}",
        )
        for index, (seed, value) in enumerate(values.items())
        if low <= value <= high
    )


def _axis(differences: Sequence[Difference], seeds: Mapping[str, Mapping[int, float]]) -> tuple[float, float]:
    """Return the ends of the axis, which always has zero on it."""
    ends = sorted(end for d in differences for end in (d.ci_low, d.ci_high, d.mean_difference) if end is not None)
    values = [*ends, *(value for of in seeds.values() for value in of.values())]
    low, high = min(0.0, *values), max(0.0, *values)
    if len(differences) >= FEWEST_TO_CUT:
        first, third = ends[len(ends) // 4], ends[-1 - len(ends) // 4]
        reach = REACH * max(third - first, 1e-9)
        cut_low, cut_high = max(low, min(0.0, first - reach)), min(high, max(0.0, third + reach))
        if high - low > WIDER * (cut_high - cut_low):
            low, high = cut_low, cut_high
    width = (high - low) or 1.0
    return low - PADDING * width, high + PADDING * width


def ticks(low: float, high: float, most: int = 6) -> list[tuple[float, str]]:
    """Return round numbers on an axis, with their texts.

    :param low: lower end of the axis.
    :param high: upper end, above ``low``.
    :param most: most numbers to return.
    """
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(step for factor in (1, 2, 5, 10, 20) if (high - low) / (step := factor * power) <= most)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    first = math.ceil(low / step - 1e-9)
    places = [step * index for index in range(first, math.floor(high / step + 1e-9) + 1)]
    return [(place, signed(place, digits)) for place in places]
