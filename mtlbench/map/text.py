"""A map as text: its plan before it is trained; then a few sentences and a small table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mtlbench.host.terminal import duration, printed
from mtlbench.map.conclusions import conclusions, verdict
from mtlbench.map.design import Plan
from mtlbench.map.result import MapResult, Study
from mtlbench.map.shards import Shard
from mtlbench.map.statements.statement import number_of
from mtlbench.map.tally import Comparisons, ordered, points

COMPARATORS = {
    "sum": "equal sum",
    "step-rules": "best step rule",
    "fixed[trials=8]": "fixed, 8 trials",
    "fixed[trials=all]": "fixed, best",
    "single-task": "single tasks",
}
"""The comparators of the table → short words for its header."""


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
    """Return the verdict, and cells won and lost by every method in the study of loss and noise ratios.

    :param result: the map.
    :param width: columns of the terminal.
    :param color: whether to add terminal escapes; the characters are the same without.
    """
    comparisons = Comparisons(result)
    sentences = verdict(conclusions(result, comparisons), result)

    def show(console: Console) -> None:
        for sentence in sentences:
            console.print(Text(sentence))
        study = comparisons.headline or next(iter(result.studies.values()), None)
        if study is not None:
            console.print()
            console.print(Text(study.title, style="bold"))
            console.print(_table(comparisons, study))
            console.print(Text(_note(study)))

    return printed(show, width=width, color=color)


def _table(comparisons: Comparisons, study: Study) -> Table:
    """Return the table: a row for each method, a column for each comparator that was trained."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    table.add_column("method", overflow="fold")
    columns = {spec: tallies for spec in COMPARATORS if (tallies := comparisons.tallies(study.name, spec))}
    for spec in columns:
        table.add_column(COMPARATORS[spec], justify="right")
    for method in ordered(study):
        of_method = [found.get(method) for found in columns.values()]
        table.add_row(method, *("-" if t is None else f"{t.score} {points(t.median)}" for t in of_method))
    return table


def _note(study: Study) -> str:
    seeds = number_of((len(cell.seeds) for cell in study.cells), "seed")
    return (
        f"cells won/lost of {len(study.cells)}, and the median gain: 100 × the fall of the mean log test error. "
        f"{seeds}, paired t tests, Benjamini-Hochberg at 5 % over all cells and methods of a column."
    )
