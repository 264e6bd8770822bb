"""Progress of a running grid: a bar on a terminal, plain lines in a pipe."""

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
    """Display of finished and failed cells and of the time left; use it as a context manager.

    :param cells: number of cells to run.
    """

    def __init__(self, cells: int) -> None:
        self._cells = cells
        self._done = self._failed = 0
        self._start = time.perf_counter()
        self._share: dict[Cell, float] = {}
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[summary]}"),
            console=console,
            disable=not console.redraws,
        )
        self._line = self._bar.add_task("cells", total=float(cells), summary="")

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, event: Event) -> None:
        """Update the bar for an event of the executor, and print a line unless it is a step."""
        if event.kind == "step":
            self._share[event.cell] = event.done / event.total
        elif event.kind in ("done", "failed"):
            self._share.pop(event.cell, None)
            self._done += event.kind == "done"
            self._failed += event.kind == "failed"
        self._bar.update(self._line, completed=self._finished, summary=self._summary())
        title, message = escape(event.cell.title), escape(event.message)
        if event.kind == "again":
            console.print(f"[yellow]again[/] {title}: {message}; try {event.done}")
        elif event.kind == "note":
            console.print(f"{title}: {message}")
        elif event.kind == "waiting":
            console.print(
                f"waiting for {event.total} cells that other runs on this folder train; Ctrl-C stops only this run"
            )
        elif event.kind == "stopping":
            console.print(f"stopping: {event.total} cells are writing their checkpoints; Ctrl-C again kills them")
        elif event.kind == "failed":
            console.print(f"[red]failed[/] {title}: {message}")
        elif event.kind == "done" and not console.redraws:
            console.print(f"{title} done; {self._summary()}")

    @property
    def _finished(self) -> float:
        """Number of finished cells, plus the finished fractions of running ones."""
        return self._done + self._failed + sum(self._share.values())

    def _summary(self) -> str:
        text = f"{self._done}/{self._cells} done, {self._failed} failed"
        if self._finished > 0.0:
            elapsed = time.perf_counter() - self._start
            text += f", {duration(elapsed * (self._cells - self._finished) / self._finished)} left"
        return text
