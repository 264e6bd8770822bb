"""A tiny grid for tests of executors, and what must be bit-identical on all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mtlbench.execute.executor import Event, Executor
from mtlbench.execute.scheduler import Scheduler
from mtlbench.plan.cells import Workload, make_cells
from mtlbench.plugins.registry import load_registry
from mtlbench.records.header import header
from mtlbench.records.record_file import read_history
from mtlbench.records.store import Store


class Grid:
    """Cells of the tiny workload, with methods of a plugin file where one is given."""

    def __init__(
        self, workload: Workload, methods: Sequence[str], seeds: Sequence[int], plugin: Path | None = None
    ) -> None:
        files = () if plugin is None else (str(plugin),)
        self._registry = load_registry(files)
        self._workload = Workload.load(
            "tiny", workload.recipe, self._registry, data_dir=workload.data_dir, plugin_files=files
        )
        self.cells = make_cells(self._workload, [self._registry.method(name) for name in methods], seeds)

    def loop(self, folder: Path, executor: Executor, listener: Callable[[Event], None]) -> Scheduler:
        """Return a loop over an empty results folder."""
        store = Store(folder)
        store.prepare()
        where = {"versions": {}, "machine": {}}
        return Scheduler(
            lambda cell: header(cell, self._workload, self._registry, where),
            store,
            executor,
            listener,
            before={},
        )


def bits(folder: Path) -> dict[str, Any]:
    """Return scores, untimed histories and predictions of every record, by file."""
    found = {}
    for record in Store(folder).scan().records:
        rows = [{k: v for k, v in row.items() if k not in ("seconds", "elapsed")} for row in read_history(record)]
        found[Path(record["path"]).name] = (record["scores"], rows, record["files"]["predictions"]["sha256"])
    return found
