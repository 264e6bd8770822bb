"""``mtlbench tune``: train the trials of every method as ordinary cells; write a table, a figure and a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rich.markup import escape

from mtlbench.contract.method import Method
from mtlbench.contract.spec import expand_spec, parse_spec, split_specs
from mtlbench.errors import UsageError, unknown
from mtlbench.execute.executor import Event
from mtlbench.execute.placement import torchrun_place
from mtlbench.grid.command import RunRequest, load_workload, make_headers, train_cells
from mtlbench.grid.text import introduce
from mtlbench.grid.tuned_file import Tuned, write_tuned
from mtlbench.host.terminal import console
from mtlbench.plan.cells import MOST_SEEDS, SEEDS_END, Cell, Workload
from mtlbench.plan.choice import ALL, applicable
from mtlbench.plugins.registry import Registry, load_registry
from mtlbench.recipe.suite import load_suite
from mtlbench.records.store import Store
from mtlbench.tune.sampler import Sampler, load_optuna
from mtlbench.tune.space import read_space
from mtlbench.tune.summary import summarize
from mtlbench.tune.text import as_plan, as_text
from mtlbench.tune.trials import FIRST_SEED, Budget, MethodSearch, ended

SAMPLERS: dict[str, Sampler] = {"halton": "halton", "tpe": "tpe"}
LR_FACTOR = 10.0
"""Learning rates are searched from the recipe's divided by this to the recipe's times this."""


@dataclass(frozen=True)
class TuneRequest:
    """Options of ``mtlbench tune``.

    :param grid: options in common with ``mtlbench run``.
    :param trials: trials per method.
    :param seeds: training runs per trial.
    :param sampler: a key of :data:`SAMPLERS`.
    :param lr: bounds of the learning rate, such as ``1e-6:1e-4``; ``None``: a range around the recipe's.
    :param space: comma-separated search spaces of methods' own parameters, such as ``cagrad[c=0.1:0.5]``.
    :param tuning_seed: seed of the sampler.
    """

    grid: RunRequest
    trials: int
    seeds: int
    sampler: str
    lr: str | None
    space: str | None
    tuning_seed: int


def run_tune(request: TuneRequest, *, width: int, color: bool) -> int:
    """Tune, print and save the results, and return the exit code.

    :param width: columns of the table.
    :param color: whether to print terminal escapes.
    :returns: 0 if every method had all its trials and at least one of them succeeded, else 1.
    :raises UsageError: for an invalid request, before the first cell starts.
    """
    tuned = tune(request)
    if request.grid.dry_run:
        print(as_plan(tuned))
        return 0
    print(as_text(tuned, width=width, color=color))
    if not tuned.complete:
        console.print("[red]not all trials have ended[/]: run the same command again to retry the others")
    return 0 if tuned.complete and all(study.chosen for study in tuned.studies) else 1


def tune(request: TuneRequest) -> Tuned:
    """Train the trials of every method, and write ``tuned.json`` and the figure to the results folder.

    :returns: the content of ``tuned.json``; for a dry run, what is known of it so far.
    :raises UsageError: for an invalid request, before the first cell starts.
    """
    if torchrun_place() is not None:
        raise UsageError("mtlbench tune distributes cells itself: start it without torchrun")
    budget = _read_budget(request)
    registry = load_registry(request.grid.plugin_files)
    workload = load_workload(request.grid, registry)
    searches = _read_searches(request, registry, workload)
    tuned = _train(request.grid, registry, workload, budget, searches)
    if not request.grid.dry_run and any(study.chosen for study in tuned.studies):
        from mtlbench.tune.figure import draw

        console.print(f"wrote {escape(str(draw(tuned, request.grid.results)))}")
    return tuned


def _read_budget(request: TuneRequest) -> Budget:
    if request.sampler not in SAMPLERS:
        raise unknown("sampler", request.sampler, SAMPLERS)
    if not 1 <= request.seeds <= MOST_SEEDS:
        raise UsageError(f"the number of tuning seeds must be 1 to {MOST_SEEDS}, not {request.seeds}")
    if not 0 <= request.tuning_seed < SEEDS_END:
        raise UsageError("the tuning seed must be from 0 up, and below 2^63")
    if request.sampler == "tpe":
        load_optuna()
    seeds = tuple(range(FIRST_SEED, FIRST_SEED + request.seeds))
    return Budget(request.trials, seeds, SAMPLERS[request.sampler], request.tuning_seed)


def _read_searches(request: TuneRequest, registry: Registry, workload: Workload) -> list[MethodSearch]:
    """Return each method with its search spaces; parameters that a spec sets are not searched.

    :raises UsageError: for invalid methods, learning rates or spaces.
    """
    methods = request.grid.methods
    specs = split_specs(methods) if methods is not None else list(load_suite(request.grid.suite).methods)
    if ALL in specs:
        specs = list(dict.fromkeys([method.spec for method in applicable(registry, workload)] + specs))
        specs.remove(ALL)
    spaces = _read_space_option(request.space or "")
    rates = request.lr or f"{workload.recipe.lr / LR_FACTOR:.3g}:{workload.recipe.lr * LR_FACTOR:.3g}"
    if rates.count(":") != 1:
        raise UsageError(f"--lr {rates}: write LOW:HIGH, the lowest and the highest learning rate to try")
    searches: dict[str, MethodSearch] = {}
    for name, parameters in (expanded for spec in specs for expanded in expand_spec(spec)):
        method = registry.method_class(name).make(dict(parameters))
        if "base_lr" in parameters:
            raise UsageError(f"method {method.spec}: base_lr is tuned; leave it out")
        own_spaces = spaces.get(name, {})
        for parameter in own_spaces.keys() & parameters.keys():
            raise UsageError(f"method {method.spec} fixes {parameter}, and --space tunes it: leave one of them out")
        declared = {parameter: text for parameter, text in method.search.items() if parameter not in parameters}
        if method.spec in searches:
            raise UsageError(f"method {method.spec} is named twice")
        texts = {"base_lr": f"{rates}:log", **declared, **own_spaces}
        searches[method.spec] = _read_search(method, texts, workload)
    for name in spaces.keys() - {search.method.name for search in searches.values()}:
        raise UsageError(f"--space tunes {name}, which is not one of --methods")
    if not searches:
        raise UsageError("give at least one method, such as --methods sum,pcgrad")
    return list(searches.values())


def _read_space_option(text: str) -> dict[str, dict[str, str]]:
    """Return method → parameter → text of its space, from the value of ``--space``.

    :raises UsageError: for a text of another form, or a method that occurs twice.
    """
    spaces: dict[str, dict[str, str]] = {}
    for spec in split_specs(text):
        name, parameters = parse_spec(spec)
        if not parameters:
            raise UsageError(f"--space {spec}: write METHOD[parameter=LOW:HIGH]")
        if "base_lr" in parameters:
            raise UsageError(f"--space {spec}: all methods share one space of learning rates: --lr LOW:HIGH")
        if name in spaces:
            raise UsageError(f"--space names {name} twice: put all its parameters into one pair of brackets")
        spaces[name] = parameters
    return spaces


def _read_search(method: Method, texts: Mapping[str, str], workload: Workload) -> MethodSearch:
    """Read a method's search spaces, all of which must contain its first trial.

    :param texts: parameter → text of its space.
    :raises UsageError: for an invalid space, or one without the first trial.
    """
    spaces = {name: read_space(text, method, name, len(workload.tasks)) for name, text in texts.items()}
    search = MethodSearch(method, spaces)
    values = search.values(method, workload)
    for name, space in spaces.items():
        try:
            space.find(values[name])
        except ValueError as error:
            raise UsageError(
                f"method {method.spec}: space {name}={space.text} leaves out the first trial, which has the recipe's "
                f"learning rate and the method's defaults: {error}"
            ) from None
    return search


def _train(
    grid: RunRequest, registry: Registry, workload: Workload, budget: Budget, searches: Sequence[MethodSearch]
) -> Tuned:
    """Train open trials, the earliest of all methods first, until every cell has been tried once."""
    store, headers, tried = Store(grid.results), None, set[str]()
    while True:
        before = store.state()
        tuned, cells, untrained = _progress(store, workload, budget, searches)
        todo = [replace(cell, checkpoint_every=grid.checkpoint_every) for cell in untrained if cell.key not in tried]
        if not tried:
            introduce(workload, cells, todo, grid.placement)
        if grid.dry_run:
            return tuned
        if not tried:
            store.prepare()
        write_tuned(tuned, grid.results)
        if not todo:
            return tuned
        tried |= {cell.key for cell in todo}
        headers = headers or make_headers(grid, registry, workload)

        def handle(event: Event) -> None:
            if event.kind in ("done", "failed"):
                write_tuned(_progress(store, workload, budget, searches)[0], grid.results)

        train_cells(grid, workload, headers, todo, store, before, handle)


def _progress(
    store: Store, workload: Workload, budget: Budget, searches: Sequence[MethodSearch]
) -> tuple[Tuned, list[Cell], list[Cell]]:
    """Return the results so far, the cells of all trials determined so far, and the cells still to be trained."""
    records = {record["key"]: record for record in store.scan().records}
    by_search = [(search, search.trials(workload, budget, records)) for search in searches]
    trials = sorted((trial for _, own in by_search for trial in own), key=lambda trial: trial.number)
    cells = list({cell.key: cell for trial in trials for cell in trial.cells}.values())
    open_keys = {cell.key for trial in trials if trial.status == "open" for cell in trial.cells}
    untrained = [cell for cell in cells if cell.key in open_keys and not ended(records.get(cell.key))]
    return summarize(workload, cells[0].group, budget, by_search), cells, untrained
