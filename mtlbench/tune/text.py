"""Results of ``mtlbench tune`` as a table, and the trials of ``--dry-run``."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mtlbench.grid.tuned_file import StudyEntry, TrialEntry, Tuned
from mtlbench.host.terminal import printed

NAME_WIDTH = 20
COLUMNS = ("method", "trials", "failed", "defaults", "best", "best with")
ARROWS = {"low": "↓", "high": "↑"}


def as_text(tuned: Tuned, *, width: int, color: bool) -> str:
    """Return the table and its notes.

    :param width: columns of the terminal.
    :param color: whether to add terminal escapes; the characters are the same without.
    """

    def show(console: Console) -> None:
        console.print(Text(title(tuned), style="bold"), "", sep="\n")
        console.print(_table(tuned))
        console.print()
        for note in notes(tuned):
            console.print(Text(note))

    return printed(show, width=width, color=color)


def title(tuned: Tuned) -> str:
    """Return the title of the table."""
    return f"Tuning on {tuned.suite}, {tuned.steps} steps a trial"


def as_plan(tuned: Tuned) -> str:
    """Return one line for each trial determined so far: its spec and status."""
    lines = []
    for study in tuned.studies:
        lines += [f"{study.method} trial {trial.number}: {trial.spec}: {trial.status}" for trial in study.trials]
        if len(study.trials) < tuned.trials:
            lines.append(f"{study.method}: {tuned.trials - len(study.trials)} more, which depend on these results")
    return "\n".join(lines)


def row(tuned: Tuned, study: StudyEntry) -> tuple[Text, ...]:
    """Return a method's row of the table: one text for each of :data:`COLUMNS`."""
    best, failed = study.chosen, len(study.failed)
    return (
        Text(study.method),
        Text(f"{study.ended}/{tuned.trials}"),
        Text(str(failed), style="bold red" if failed else ""),
        Text(_score(study.trials[0])),
        Text(_score(best)),
        Text("-") if best is None else _values(study, best),
    )


def _table(tuned: Tuned) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    first, *numbers, last = COLUMNS
    table.add_column(first, overflow="fold", max_width=NAME_WIDTH)
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column(last, overflow="fold")
    for study in tuned.studies:
        table.add_row(*row(tuned, study))
    return table


def _score(trial: TrialEntry | None) -> str:
    return "-" if trial is None or trial.score is None else f"{trial.score:.4f}"


def _values(study: StudyEntry, trial: TrialEntry) -> Text:
    """Return a trial's values, with an arrow at those on an edge of their space."""
    line = Text()
    for name, value in trial.values.items():
        edge = ARROWS.get(study.edges.get(name, ""), "")
        text = value if isinstance(value, str) else f"{value:g}"
        line.append(" " if line else "").append(f"{name}={text}{edge}", style="bold yellow" if edge else "")
    return line


def notes(tuned: Tuned) -> Iterator[str]:
    """Yield what readers of the numbers need to know: the score, search spaces, edges and failures."""
    yield f"score: {tuned.selection} ({', '.join(map(str, tuned.seeds))})"
    rates = ", ".join({study.space["base_lr"] for study in tuned.studies})
    yield f"base_lr, the model's learning rate: {rates} for every method; the recipe's is {tuned.lr:g}"
    for study in tuned.studies:
        spaces = [f"{name} {text}" for name, text in study.space.items() if name != "base_lr"]
        if spaces:
            yield f"{study.method}: {', '.join(spaces)}"
    if any(study.edges for study in tuned.studies):
        yield f"{' or '.join(ARROWS.values())}: on the edge of its space; a better one may lie beyond: --lr, --space"
    for study in tuned.studies:
        for trial in study.failed:
            yield f"{trial.spec} failed: {trial.reason}"
    if tuned.complete:
        yield "the best of several trials looks better than it is: report it on other seeds"
