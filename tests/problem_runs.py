"""Cells of tiny problems, trained in this process in milliseconds, for tests of what reads or resumes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import tiny_problems
import torch

from mtlbench.execute.executor import CellJob, Event
from mtlbench.execute.worker import run_cell
from mtlbench.plan.cells import Cell, Workload, make_cells
from mtlbench.plugins.registry import load_registry
from mtlbench.recipe.suite import Recipe
from mtlbench.records.header import header
from mtlbench.records.leases import Leases
from mtlbench.records.record import Record
from mtlbench.records.record_file import read_history
from mtlbench.records.store import Store

PLUGIN = str(Path(tiny_problems.__file__))
"""A file that defines the problems ``points`` and ``apart-points``."""
POINTS, APART = "points[unlabelled=0.3]", "apart-points[unlabelled=0.3]"
"""Four tasks of all kinds with missing labels, on shared batches and on separate ones."""


def write_suite(folder: Path, problem: str = POINTS, name: str = "tiny-problem", **fields: Any) -> Path:
    """Write a suite of a few steps on a problem, and return its file."""
    values = {"problem": problem, "steps": 4, "batch_size": 16, "lr": 0.02, "evaluations": 2, "measure_every": 2}
    lines = ['description = "tiny"', 'methods = ["sum"]', "seeds = 1"]
    lines += [f"{name} = {value!r}".replace("'", '"') for name, value in {**values, **fields}.items()]
    file = folder / f"{name}.toml"
    file.write_text("\n".join(lines) + "\n")
    return file


def workload_of(problem: str = POINTS, suite: str = "tiny-problem", plugin: str = PLUGIN, **fields: Any) -> Workload:
    """Return a problem with a recipe of a few steps."""
    values = {"steps": 4, "batch_size": 16, "lr": 0.02, "evaluations": 2, "measure_every": 2, **fields}
    files = (plugin,)
    return Workload.load(suite, Recipe(problem=problem, **values), load_registry(files), plugin_files=files)


@contextmanager
def torch_as_before() -> Iterator[None]:
    """Put back the settings of torch that a cell changes: elsewhere, it has a process of its own."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(False)


def run(folder: Path, workload: Workload, cell: Cell, heard: Callable[[Event], None] = lambda event: None) -> Event:
    """Try a cell once in this process, and return its last event."""
    store = Store(folder)
    store.prepare()
    lease = Leases(folder).claim(cell.key, cell.title)
    assert lease is not None
    record = header(cell, workload, load_registry(workload.plugin_files), {"versions": {}, "machine": {}})
    with torch_as_before():
        ended = run_cell(CellJob(cell, record, store, lease), heard)
    lease.release()
    return ended


def cells_of(workload: Workload, methods: Sequence[str], seeds: Sequence[int] = (0,)) -> list[Cell]:
    """Return cells that write a checkpoint only where they are stopped."""
    registry = load_registry(workload.plugin_files)
    cells = make_cells(workload, [registry.method(name) for name in methods], seeds)
    return [replace(cell, checkpoint_every=1e9) for cell in cells]


def train(
    folder: Path, workload: Workload, methods: Sequence[str] = ("stl", "sum", "pcgrad"), seeds: Sequence[int] = (0, 1)
) -> list[Record]:
    """Train a grid, and return all records of the folder."""
    for cell in cells_of(workload, methods, seeds):
        ended = run(folder, workload, cell)
        assert ended.kind == "done", ended.message
    return Store(folder).scan().records


def bits(record: Record) -> Any:
    """Return what must be bit-identical however a cell was trained."""
    rows = [{k: v for k, v in row.items() if k not in ("seconds", "elapsed")} for row in read_history(record)]
    names = ("scores", "test_scores", "pairing", "conflict", "engine", "seen", "cut")
    return {name: record[name] for name in names}, rows, record["files"]["predictions"]["sha256"]  # type: ignore[literal-required]
