"""What a person sees while a grid runs: a bar on a terminal, plain lines in a pipe."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from mtlbench.host.terminal import console, duration

if TYPE_CHECKING:
    from mtlbench.execute.executor import Event
    from mtlbench.plan.cells import Cell


class Progress:
    """Shows done/total, failures and time left.

    :param cells: how many cells are to run.
    """

    def __init__(self, cells: int) -> None:
        self._cells = cells
        self._done = self._failed = 0
        self._begun = time.perf_counter()
        self._share: dict[Cell, float] = {}
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[told]}"),
            console=console,
            disable=not console.redraws,
        )
        self._line = self._bar.add_task("cells", total=float(cells), told="")

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, event: Event) -> None:
        """Show one event of the executor."""
        if event.kind == "step":
            self._share[event.cell] = event.done / event.total
        elif event.kind in ("done", "failed"):
            self._share.pop(event.cell, None)
            self._done += event.kind == "done"
            self._failed += event.kind == "failed"
        self._bar.update(self._line, completed=self._finished, told=self._told())
        title, message = escape(event.cell.title), escape(event.message)
        if event.kind == "again":
            console.print(f"[yellow]again[/] {title}: {message}; try {event.done}")
        elif event.kind == "note":
            console.print(f"{title}: {message}")
        elif event.kind == "waiting":
            console.print(
                f"waiting for {event.total} cells that other runs on this folder have; Ctrl-C stops only this one"
            )
        elif event.kind == "stopping":
            console.print(f"stopping: {event.total} cells write their checkpoints; Ctrl-C again kills them")
        elif event.kind == "failed":
            console.print(f"[red]failed[/] {title}: {message}")
        elif event.kind == "done" and not console.redraws:
            console.print(f"{title} done; {self._told()}")

    @property
    def _finished(self) -> float:
        """Cells finished, with the parts of those that run."""
        return self._done + self._failed + sum(self._share.values())

    def _told(self) -> str:
        text = f"{self._done}/{self._cells} done, {self._failed} failed"
        if self._finished > 0.0:
            spent = time.perf_counter() - self._begun
            text += f", {duration(spent * (self._cells - self._finished) / self._finished)} left"
        return text
