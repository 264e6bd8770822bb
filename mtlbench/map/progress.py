"""Progress of a map in training: a bar on a terminal, plain lines in a pipe."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn

from mtlbench.host.terminal import console, duration
from mtlbench.map.work import ShardJob


class MapProgress(Progress):
    """Display of the cells that are trained, and of the time left. Shards count by their estimated seconds.

    :param jobs: the shards.
    :param workers: how many are trained at a time.
    """

    def __init__(self, jobs: Sequence[ShardJob], workers: int) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[summary]}"))
        super().__init__(*columns, console=console, disable=not console.redraws)
        self._cells, self._seconds = sum(job.shard.cells for job in jobs), sum(job.shard.seconds for job in jobs)
        self._begin, self._workers = time.perf_counter(), workers
        self._done_cells, self._done_seconds = 0, 0.0
        self._line = self.add_task("cells", total=self._seconds, summary=self._summary())

    def show(self, job: ShardJob, error: str = "") -> None:
        """Show that a shard has ended.

        :param job: the shard.
        :param error: why it failed, in one line.
        """
        self._done_cells += 0 if error else job.shard.cells
        self._done_seconds += job.shard.seconds
        self.update(self._line, completed=self._done_seconds, summary=self._summary())
        title = escape(f"{job.study}: {job.shard.title}")
        if error:
            console.print(f"[red]failed[/] {title}: {escape(error)}")
        elif not console.redraws:
            console.print(f"{title} done; {self._summary()}")

    def _summary(self) -> str:
        left = (self._seconds - self._done_seconds) / self._workers
        if self._done_seconds:
            left *= self._workers * (time.perf_counter() - self._begin) / self._done_seconds
        return f"{self._done_cells}/{self._cells} cells, about {duration(left)} left"
