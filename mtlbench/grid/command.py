"""``mtlbench run``: resolve the request, skip finished cells, train the others, and report progress."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.markup import escape

from mtlbench.contract.spec import split_specs
from mtlbench.errors import UsageError
from mtlbench.execute.executor import Event
from mtlbench.execute.placement import Placement, torchrun_place
from mtlbench.execute.scheduler import Scheduler
from mtlbench.grid.progress import Progress
from mtlbench.grid.text import introduce, print_plan
from mtlbench.host.provenance import environment
from mtlbench.host.terminal import console, duration
from mtlbench.plan.cells import CHECKPOINT_EVERY, Cell, Workload, make_cells, parse_seeds
from mtlbench.plan.choice import choose_methods, with_all
from mtlbench.plugins.registry import Registry, load_registry
from mtlbench.recipe.suite import Suite, load_suite
from mtlbench.records.header import header
from mtlbench.records.record import Record
from mtlbench.records.store import Store
from mtlbench.records.store_cache import FileStamp


@dataclass(frozen=True)
class RunRequest:
    """Options of ``mtlbench run``; ``None`` means the suite's own value.

    :param suite: name of a packaged suite, or a ``.toml`` file; or a suite, such as that of ``--problem``.
    :param methods: comma-separated specs, of which ``all`` is every method that applies; or ``@`` and the path of a
        ``tuned.json``, for the best of each tuned method.
    :param seeds: a number of seeds, or a comma-separated list.
    :param data_dir: folder with the tasks' data files.
    :param results: results folder.
    :param plugin_files: Python files that define further methods or tasks.
    :param placement: where cells run, and how many at a time.
    :param checkpoint_every: seconds between checkpoints of a cell; 0: none.
    :param force: whether to run finished cells again.
    :param fail_fast: whether to start no further cells after a failure.
    :param dry_run: whether to print the cells and train nothing.
    :param changes: recipe field → value, for the fields that the command line overrides.
    """

    suite: str | Suite
    methods: str | None
    seeds: str | None
    data_dir: Path | None
    results: Path
    plugin_files: tuple[str, ...] = ()
    placement: Placement = field(default_factory=Placement)
    checkpoint_every: float = CHECKPOINT_EVERY
    force: bool = False
    fail_fast: bool = False
    dry_run: bool = False
    changes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class GridResult:
    """Result of ``mtlbench run``; the scores are in the records of the results folder.

    :param cells: all cells of the grid, those included that were done before.
    :param succeeded: whether no cell failed.
    """

    cells: Sequence[Cell]
    succeeded: bool


def run_grid(request: RunRequest) -> GridResult:
    """Run a grid; print the plan, progress and a summary.

    :raises UsageError: for an invalid request, before the first cell starts.
    """
    rank, count = torchrun_place() or (0, 1)
    if torchrun_place() is not None:
        request = _spread(request, count)
        console.quiet = rank > 0
    registry = load_registry(request.plugin_files)
    for broken in registry.broken:
        console.print(f"[yellow]plugin {escape(broken.origin)} is not available: {escape(broken.error)}[/]")
    workload, cells = _plan(request, registry)
    store = Store(request.results)
    if rank > 0:
        from mtlbench.execute.torchrun import follow_cells

        return GridResult(cells, request.dry_run or follow_cells(cells, store) == 0)
    before, contents = store.state(), store.scan()
    done = set() if request.force else {key for key, status in contents.status().items() if status == "done"}
    todo = [cell for cell in cells if cell.key not in done]
    introduce(workload, cells, todo, request.placement)
    if request.dry_run:
        print_plan(cells, todo, contents, request.placement.room(workload.recipe) or len(todo))
        return GridResult(cells, True)
    store.prepare()
    report = f"see mtlbench report --results {escape(str(store.folder))}"
    if not todo and request.placement.executor != "torchrun":  # its other processes wait for messages
        console.print(f"nothing to do; {report}")
        return GridResult(cells, True)
    succeeded = train_cells(request, workload, make_headers(request, registry, workload), todo, store, before)
    console.print(report)
    return GridResult(cells, succeeded)


def _spread(request: RunRequest, count: int) -> RunRequest:
    """Return the request with every cell spread over the processes that torchrun has started.

    :param count: number of processes.
    :raises UsageError: for options that contradict torchrun.
    """
    if request.placement != Placement():
        raise UsageError("under torchrun one cell runs at a time: leave --executor, --jobs and --devices away")
    if request.changes.get("processes", count) != count:
        raise UsageError(f"torchrun has started {count} processes: leave --processes-per-cell away")
    changes = {**request.changes, "processes": count}
    return replace(request, placement=Placement(executor="torchrun"), changes=changes)


def _plan(request: RunRequest, registry: Registry) -> tuple[Workload, list[Cell]]:
    suite = load_suite(request.suite)
    seeds = parse_seeds(request.seeds) if request.seeds is not None else list(range(suite.seeds))
    specs = request.methods if request.methods is not None else ",".join(suite.methods)
    if specs.startswith("@"):
        from mtlbench.grid.tuned_file import tuned_methods

        methods, tuned_on = tuned_methods(Path(specs[1:]), registry, seeds)
    else:
        methods, tuned_on = choose_methods(specs, registry), None
    workload = load_workload(request, registry)
    if not specs.startswith("@"):
        methods = with_all(methods, specs, registry, workload)
    cells = make_cells(workload, methods, seeds)
    if tuned_on not in (None, cells[0].group):
        console.print("[yellow]the methods were tuned on another recipe, model or data than this run uses[/]")
    return workload, [replace(cell, checkpoint_every=request.checkpoint_every) for cell in cells]


def load_workload(request: RunRequest, registry: Registry) -> Workload:
    """Load what all cells share: the recipe with the request's changes, the tasks' data, and the model.

    :raises UsageError: for a value out of range, contradictory options, missing files, or a model that fails a trial
        with this recipe.
    """
    suite = load_suite(request.suite)
    changes = dict(request.changes)
    if "tasks" in changes:
        changes["tasks"] = tuple(split_specs(changes["tasks"]))
    recipe = suite.recipe(changes)
    request.placement.check(recipe)
    if request.data_dir is not None and not request.data_dir.is_dir():
        raise UsageError(f"data folder {request.data_dir} does not exist")
    data_dir = request.data_dir.resolve() if request.data_dir is not None else None
    plugin_files = tuple(str(Path(file).resolve()) for file in request.plugin_files)
    workload = Workload.load(suite.name, recipe, registry, data_dir=data_dir, plugin_files=plugin_files)
    workload.problem.check(workload.recipe)
    return workload


def make_headers(request: RunRequest, registry: Registry, workload: Workload) -> Callable[[Cell], Record]:
    """Return a function that makes the header of a cell's record."""
    machine = environment(request.placement.device_here(workload.recipe), workload.problem.libraries)
    return lambda cell: header(cell, workload, registry, machine)


def train_cells(
    request: RunRequest,
    workload: Workload,
    headers: Callable[[Cell], Record],
    todo: Sequence[Cell],
    store: Store,
    before: Mapping[Path, FileStamp],
    also: Callable[[Event], None] = lambda event: None,
) -> bool:
    """Train cells, print progress and a summary, and return whether all succeeded.

    :param headers: makes record headers; see :func:`make_headers`.
    :param todo: the cells to train.
    :param store: the results folder, already prepared.
    :param before: state of the store when the cells were chosen.
    :param also: called with every event, after it is shown.
    :raises UsageError: if the executor cannot start on this machine.
    """
    for cell in todo:
        if (path := store.set_aside(cell)) is not None:
            console.print(f"[yellow]damaged record set aside as {escape(str(path))}[/]")
    start = time.perf_counter()
    counts: Counter[str] = Counter()
    with Progress(len(todo)) as progress:

        def handle(event: Event) -> None:
            counts[event.kind] += 1
            progress.show(event)
            also(event)

        executor = request.placement.start(workload.recipe)
        succeeded = Scheduler(headers, store, executor, handle, before=before, fail_fast=request.fail_fast).run(todo)
    left = len(todo) - counts["done"] - counts["failed"]
    console.print(
        f"{counts['done']} done, {counts['failed']} failed"
        + (f", {left} not started" if left else "")
        + f" in {duration(time.perf_counter() - start)}"
    )
    return succeeded
