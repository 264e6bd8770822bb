"""``mtlbench run``: resolve what was asked for, skip what is done, run the rest, and show how it goes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.markup import escape

from mtlbench.contract.method import Method
from mtlbench.contract.plugin import split_specs
from mtlbench.errors import UsageError
from mtlbench.execute.executor import Event
from mtlbench.execute.placement import Placement, torchrun_place
from mtlbench.execute.scheduler import Scheduler
from mtlbench.grid.progress import Progress
from mtlbench.host.provenance import environment
from mtlbench.host.terminal import console, duration
from mtlbench.plan.cells import CHECKPOINT_EVERY, Cell, Workload, make_cells, parse_seeds
from mtlbench.plan.suite import load_suite
from mtlbench.plugins.registry import Registry, load_registry
from mtlbench.records.header import header
from mtlbench.records.record import Record
from mtlbench.records.store import FolderContents, Store
from mtlbench.records.store_cache import FileStamp
from mtlbench.text.description import describe_tasks


@dataclass(frozen=True)
class RunRequest:
    """The options of ``mtlbench run``; ``None`` means the suite's own value.

    :param methods: specs by comma; or ``@`` and a file that ``mtlbench tune`` wrote: the best of each method.
    :param changes: recipe fields that the command line sets.
    """

    suite: str
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


def run_grid(request: RunRequest) -> int:
    """Run a grid and return the exit code: 0 when all its cells are done, 1 when one failed.

    :raises UsageError: for anything wrong with the request, before the first cell starts.
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

        return 0 if request.dry_run else follow_cells(cells, store)
    before, found = store.state(), store.scan()
    done = set() if request.force else {key for key, status in found.status().items() if status == "done"}
    todo = [cell for cell in cells if cell.key not in done]
    introduce(workload, cells, todo, request.placement)
    if request.dry_run:
        _print_plan(cells, todo, found, request.placement.room(workload.recipe) or len(todo))
        return 0
    store.prepare()
    report = f"see mtlbench report --results {escape(str(store.folder))}"
    if not todo and request.placement.executor != "torchrun":  # whose other processes wait to be told
        console.print(f"nothing to do; {report}")
        return 0
    well = train_cells(request, workload, make_headers(request, registry, workload), todo, store, before)
    console.print(report)
    return 0 if well else 1


def _spread(request: RunRequest, count: int) -> RunRequest:
    """Return a request for cells over the processes that torchrun has started.

    :raises UsageError: for options that say otherwise.
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
    wanted = request.methods if request.methods is not None else ",".join(suite.methods)
    if wanted.startswith("@"):
        from mtlbench.grid.tuned_file import tuned_methods

        methods, tuned_on = tuned_methods(Path(wanted[1:]), registry, seeds)
    else:
        methods, tuned_on = choose_methods(wanted, registry), None
    workload = load_workload(request, registry)
    cells = make_cells(workload, methods, seeds)
    if tuned_on not in (None, cells[0].group):
        console.print("[yellow]the methods were tuned on another recipe, model or data than they run on here[/]")
    return workload, [replace(cell, checkpoint_every=request.checkpoint_every) for cell in cells]


def choose_methods(wanted: str, registry: Registry) -> list[Method]:
    """Return the methods that a list of specs names.

    :raises UsageError: when there is none, or for an unknown name, parameter or value.
    """
    methods = {made.spec: made for spec in split_specs(wanted) for made in registry.expand_methods(spec)}
    if not methods:
        raise UsageError("give at least one method, such as --methods sum,pcgrad")
    return list(methods.values())


def load_workload(request: RunRequest, registry: Registry) -> Workload:
    """Return what all cells share: the suite's recipe as the command line changes it, data, model, which is tried.

    :raises UsageError: for a value out of its range, an option that makes no sense, files that are not there, or a
        model that cannot be used as the recipe says.
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
    workload.try_model()
    return workload


def introduce(workload: Workload, cells: Sequence[Cell], todo: Sequence[Cell], placement: Placement) -> None:
    """Say what is about to run, and on what."""
    recipe = workload.recipe
    room, note = placement.room(recipe), placement.note(recipe)
    console.print(
        f"[bold]suite {escape(workload.suite)}[/]: {len(cells)} cells, {len(cells) - len(todo)} done, "
        f"{len(todo)} to run; {workload.steps} steps of {len(workload.tasks)} × {recipe.batch_size} rows; "
        f"{'' if room is None else f'{room} jobs × '}{recipe.threads} threads, {placement.executor}"
    )
    console.print(f"model {escape(workload.files.title)}, SHA-256 {workload.files.fingerprint[:12]}")
    for task, splits in zip(workload.tasks, workload.splits, strict=True):
        skipped = splits.train.skipped + splits.dev.skipped
        told = f"; {skipped} rows without text or label left out" if skipped else ""
        console.print(
            f"task {escape(task.spec)}: {len(splits.train)} train, {len(splits.dev)} dev, "
            f"{escape(splits.source)}{told}",
            highlight=False,
        )
        if task.corpus in workload.files.tuned_on:
            console.print(
                f"[yellow]the model was tuned on {task.corpus}: {escape(task.key)} scores are not comparable "
                "to those of other models[/]"
            )
    for sentence in [note, *_lowered(workload)]:
        if sentence:
            console.print(f"[yellow]{escape(sentence)}[/]")


def _lowered(workload: Workload) -> Iterator[str]:
    """Yield a sentence for each number of the recipe that is more than there can be."""
    recipe, longest = workload.recipe, workload.files.longest
    if recipe.max_length > longest:
        yield f"max_length {recipe.max_length} lowered to {longest}: the model has no more positions"
    if recipe.evaluations > workload.steps:
        yield f"evaluations {recipe.evaluations} lowered to {workload.steps}: one after every step"


def _print_plan(cells: Sequence[Cell], todo: Sequence[Cell], found: FolderContents, jobs: int) -> None:
    states = found.status()
    waiting = {cell.key for cell in todo}
    for cell in cells:
        state = (
            "done"
            if cell.key not in waiting
            else {"done": "run again", "failed": "failed, run again"}.get(states.get(cell.key, ""), "to run")
        )
        console.print(f"{escape(cell.title)}: {state}", highlight=False)
    groups = {cell.group for cell in cells}
    done = [r["seconds"] for r in found.records if r["group"] in groups and r["status"] == "done"]
    past = [seconds for seconds in done if seconds is not None]
    if past and todo:
        console.print(f"estimated time: {duration(sum(past) / len(past) * len(todo) / min(jobs, len(todo)))}")


def make_headers(request: RunRequest, registry: Registry, workload: Workload) -> Callable[[Cell], Record]:
    """Return what makes the header of a cell's record."""
    tasks, where = (
        describe_tasks(workload.tasks, workload.splits),
        environment(request.placement.device_here(workload.recipe)),
    )
    return lambda cell: header(cell, workload, registry, tasks, where)


def train_cells(
    request: RunRequest,
    workload: Workload,
    headers: Callable[[Cell], Record],
    todo: Sequence[Cell],
    store: Store,
    before: Mapping[Path, FileStamp],
    also: Callable[[Event], None] = lambda event: None,
) -> bool:
    """Train cells and say how it went; return whether all ended well.

    :param headers: see :func:`make_headers`.
    :param store: prepared.
    :param before: its state when the cells were chosen.
    :param also: hears every event after it was shown.
    :raises UsageError: when the executor cannot be started here.
    """
    for cell in todo:
        if (kept := store.set_aside(cell)) is not None:
            console.print(f"[yellow]damaged record set aside as {escape(str(kept))}[/]")
    begun = time.perf_counter()
    counts: Counter[str] = Counter()
    with Progress(len(todo)) as progress:

        def heard(event: Event) -> None:
            counts[event.kind] += 1
            progress.show(event)
            also(event)

        executor = request.placement.start(workload.recipe)
        well = Scheduler(headers, store, executor, heard, before=before, fail_fast=request.fail_fast).run(todo)
    left = len(todo) - counts["done"] - counts["failed"]
    console.print(
        f"{counts['done']} done, {counts['failed']} failed"
        + (f", {left} not started" if left else "")
        + f" in {duration(time.perf_counter() - begun)}"
    )
    return well
