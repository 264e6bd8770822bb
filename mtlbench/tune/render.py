"""What was tuned, as a table for people."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mtlbench.terminal import printed
from mtlbench.tune.tuned import StudyEntry, Tuned

NAME_WIDTH = 20
ENDS = {"low": "lower", "high": "upper"}


def as_text(tuned: Tuned, *, width: int, color: bool) -> str:
    """Return the table and its notes; plain in a pipe, the same characters with colour on a terminal."""

    def show(console: Console) -> None:
        console.print(Text(f"Tuning on {tuned.suite}", style="bold"), "", sep="\n")
        console.print(_table(tuned))
        console.print()
        for note in _notes(tuned):
            console.print(Text(note))

    return printed(show, width=width, color=color)


def _table(tuned: Tuned) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    table.add_column("method", overflow="fold", max_width=NAME_WIDTH)
    for name in ("trials", "failed", "first", "best"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("best is", overflow="fold")
    table.add_column("on an edge", overflow="fold")
    for study in tuned.studies:
        chosen = study.chosen
        table.add_row(
            Text(study.method),
            f"{study.ended}/{tuned.trials}",
            Text(str(len(study.failed)), style="bold red" if study.failed else ""),
            _score(study.trials[0].score),
            _score(None if chosen is None else chosen.score),
            Text("-" if chosen is None else chosen.spec),
            Text(", ".join(f"{name} {ENDS[side]}" for name, side in study.edges.items()) or "-"),
        )
    return table


def _score(score: float | None) -> str:
    return "-" if score is None else f"{score:.4f}"


def _notes(tuned: Tuned) -> Iterator[str]:
    """Yield what a reader of the numbers must know beside them."""
    yield f"score: {tuned.selection} ({', '.join(map(str, tuned.seeds))}); the first trial has the defaults"
    spaces = {study.space["base_lr"] for study in tuned.studies}
    yield f"base_lr: the model's learning rate, in {' '.join(spaces)} for every method; the recipe's is {tuned.lr:g}"
    for study in tuned.studies:
        own = [f"{name} in {text}" for name, text in study.space.items() if name != "base_lr"]
        if own:
            yield f"{study.method}: {', '.join(own)}"
    for study in tuned.studies:
        yield from _warnings(study)
    if tuned.complete and all(study.chosen for study in tuned.studies):
        yield "the best of several trials looks better than it is: report it on other seeds"


def _warnings(study: StudyEntry) -> Iterator[str]:
    for name, side in study.edges.items():
        option = "--lr" if name == "base_lr" else "--space"
        yield f"{study.method}: {name} is best at the {ENDS[side]} edge of its space: try a wider one ({option})"
    for trial in study.failed:
        yield f"{trial.spec} failed: {trial.reason}"
