"""A map as text: its plan before it is trained, and the table of its results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mtlbench.host.terminal import duration, printed
from mtlbench.map.comparators import Comparator
from mtlbench.map.design import Plan
from mtlbench.map.gains import Gain
from mtlbench.map.result import MapResult, Study
from mtlbench.map.shards import Shard

COMPARATORS = ("sum", "step-rules", "fixed[trials=8]", "fixed[trials=all]", "single-task")
"""The comparators of the table, where a study has them."""


def as_plan(left: Mapping[str, Sequence[Shard]], plans: Sequence[Plan], seeds: int, jobs: int) -> str:
    """Return what would be trained, and how long it would take.

    :param left: name of each study → the shards that are not trained yet.
    :param plans: the studies.
    :param seeds: how many seeds.
    :param jobs: how many shards are trained at a time.
    """
    lines, total = [], 0.0
    for plan in plans:
        columns = sorted({len(plan.columns(setting)) for setting in plan.settings})
        cells = seeds * sum(len(plan.columns(setting)) for setting in plan.settings)
        missing, seconds = sum(s.cells for s in left[plan.name]), sum(s.seconds for s in left[plan.name])
        span = str(columns[0]) if len(columns) == 1 else f"{columns[0]}–{columns[-1]}"
        lines.append(
            f"{plan.name}: {len(plan.settings)} settings × {span} columns × {seeds} seeds = {cells} cells, "
            f"{cells - missing} done" + (f", {_about(seconds / jobs)}" if missing else "")
        )
        total += seconds
    shards = sum(map(len, left.values()))
    end = f"{shards} shards to train: {_about(total / jobs)} with {jobs} at a time" if shards else "nothing to train"
    return "\n".join([*lines, end])


def _about(seconds: float) -> str:
    return f"about {duration(seconds)}"


def as_text(result: MapResult, *, width: int, color: bool) -> str:
    """Return a table for each study: how each method does against each comparator.

    :param width: columns of the terminal.
    :param color: whether to add terminal escapes; the characters are the same without.
    """

    def show(console: Console) -> None:
        for study in result.studies.values():
            console.print(Text(f"{study.title} ({study.name})", style="bold"))
            console.print(_table(result, study))
            for note in _notes(study):
                console.print(Text(note))
            console.print()

    return printed(show, width=width, color=color)


def _table(result: MapResult, study: Study) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    possible = {comparator.spec for comparator in study.comparators}
    shown = [spec for spec in COMPARATORS if spec in possible]
    table.add_column("method", no_wrap=True)
    for spec in shown:
        table.add_column(f"against {Comparator.read(spec).label}", justify="right")
    by_comparator = [_by_method(result.gains(study.name, spec)) for spec in shown]
    for method in study.methods:
        table.add_row(method, *(_entry(gains.get(method, ())) for gains in by_comparator))
    return table


def _by_method(gains: Sequence[Gain]) -> dict[str, list[Gain]]:
    by_method: dict[str, list[Gain]] = {}
    for gain in gains:
        by_method.setdefault(gain.method, []).append(gain)
    return by_method


def _entry(gains: Sequence[Gain]) -> str:
    """Return cells won and lost, and the median gain; positive is better, as in the figures."""
    if not gains:
        return ""
    won = sum(gain.separable and gain.mean < 0.0 for gain in gains)
    lost = sum(gain.separable and gain.mean > 0.0 for gain in gains)
    return f"{won}/{lost} {-float(np.median([gain.mean for gain in gains])):+.0f}"


def _notes(study: Study) -> Iterator[str]:
    seeds = {len(cell.seeds) for cell in study.cells}
    span = f"{min(seeds)}" if len(seeds) == 1 else f"{min(seeds)} to {max(seeds)}"
    knobs = ", ".join(study.knobs)
    yield (
        f"cells won/lost of {len(study.cells)} ({knobs}), and the median gain: 100 × the fall in mean ln NMSE; "
        f"{span} seeds, paired t tests, Benjamini-Hochberg at 5 % over all cells and methods of a column"
    )
